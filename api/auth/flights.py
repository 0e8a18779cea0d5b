"""One caller does the work, the others who want the same wait for it."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Flights(Generic[K, T]):
    """Work under way, by key. Nothing is kept once it is done: neither a result nor a failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[K, Future[T]] = {}

    def share(self, key: K, work: Callable[[], T], *, wait_s: float) -> T:
        """Do `work`, or wait for whoever does it at this moment; all get its result or failure.

        Raises: TimeoutError where somebody else's work takes longer than `wait_s`.
        """
        with self._lock:
            other = self._under_way.get(key)
            if other is None:
                mine = self._under_way[key] = Future()
        if other is not None:
            return other.result(wait_s)
        try:
            mine.set_result(work())
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._under_way[key]
        return mine.result()
