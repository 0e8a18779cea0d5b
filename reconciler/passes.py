"""A read that is done again and again in a thread of its own, and whoever may ask for it.

It is done at once, then when it is time, when it is woken, and again after a failure, ever later.
So one place that hangs or fails leaves the others alone.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reconciler.queue import backoff_s
from specs.faults import StoreUnavailable
from specs.trees import SourceUnavailable
from specs.watch import watch

log = logging.getLogger(__name__)

ASKS_S: Final = 1.0
"""How often the store is asked whether somebody wants a source to be read."""


class Passes:
    """The passes over one source.

    `run_once` does one, and says in how many seconds it wants to be done again if nothing happens,
    None: not before it is woken. After a failure it is done again within `longest_s`. `watched` is
    the folder, if any, whose changes wake it.
    """

    def __init__(
        self,
        name: str,
        run_once: Callable[[], float | None],
        *,
        longest_s: float,
        random: Callable[[], float],
        watched: Path | None = None,
    ) -> None:
        self._stop = threading.Event()
        self._wake = threading.Event()
        self.name = name
        self._run_once = run_once
        self._longest_s = longest_s
        self._random = random
        self._watched = watched
        self._may: Callable[[], bool] = lambda: True

    def only_while(self, may: Callable[[], bool]) -> None:
        """Read only while `may` says yes: one process of a site reads its sources."""
        self._may = may

    def wake(self) -> None:
        """Have the source read now, or once more after the read that is under way."""
        self._wake.set()

    def stopped(self) -> bool:
        """Whether a pass that is under way should give up."""
        return self._stop.is_set()

    def run(self, stop: threading.Event) -> None:
        """Read whenever there is a reason to, until `stop` is set."""
        self._stop = stop
        if self._watched is not None:
            threading.Thread(
                target=watch, args=(self._watched, self.wake, stop), name=f"watch {self.name}"
            ).start()
        failures = 0
        while not stop.is_set():
            if not self._may():
                stop.wait(ASKS_S)
                continue
            self._wake.clear()
            try:
                again_s = self._run_once()
                failures = 0
            except (SourceUnavailable, StoreUnavailable) as error:
                failures += 1
                again_s = min(self._longest_s, backoff_s(failures, random=self._random))
                log.warning("source not read", extra={"source": self.name, "error": str(error)})
            except Exception:  # the top of the thread: one broken pass must not end it
                failures += 1
                again_s = backoff_s(failures, random=self._random)
                log.exception("source failed", extra={"source": self.name})
            self._wait(again_s, stop)

    def _wait(self, seconds: float | None, stop: threading.Event) -> None:
        # `stop` wakes nobody here, so it is looked at every now and then.
        left_s = float("inf") if seconds is None else seconds
        while left_s > 0 and not stop.is_set() and not self._wake.wait(min(ASKS_S, left_s)):
            left_s -= ASKS_S


@dataclass(slots=True)
class Asked:
    """Wakes the sources that somebody asked for, in whichever process.

    `asks` counts in the store, by source, how often it was asked for. Raises: StoreUnavailable.
    `rung` is set when this process asked, so that nobody waits for the next look at the store.
    """

    asks: Callable[[], Mapping[str, int]]
    wakes: Mapping[str, Callable[[], None]]
    name: str = "asked"
    rung: threading.Event = field(default_factory=threading.Event)

    def run(self, stop: threading.Event) -> None:
        """Ask the store until `stop` is set: at once here, each second for other processes."""
        seen: Mapping[str, int] = {}
        while not stop.is_set():
            try:
                asks = self.asks()
            except StoreUnavailable:
                asks = seen
            for source, wake in self.wakes.items():
                if asks.get(source, 0) > seen.get(source, asks.get(source, 0)):
                    wake()
            seen = asks
            self.rung.wait(ASKS_S)
            self.rung.clear()
