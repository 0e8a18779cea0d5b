"""Threads of which only one runs at a time, and only when told to.

What the product runs in a thread runs here in a fibre: it goes on from `resume` to its next
`pause` and the rest of the world stands still meanwhile. So who overtakes whom is the seed's
choice, and the same seed makes the same history.
"""

import threading
from collections.abc import Callable

_running = threading.local()


class Fibre:
    """One thread of a simulated process.

    `wake_at_ns` is until when it asked to sleep, if so. `began_at` is its owner's mark.
    """

    def __init__(self, run: Callable[[], object], *, began_at: int = 0) -> None:
        self._run = run
        self.began_at = began_at
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._throw: BaseException | None = None
        self._raised: BaseException | None = None
        self._thread: threading.Thread | None = None
        self.ended = False
        self.wake_at_ns: int | None = None

    def resume(self, throw: BaseException | None = None) -> None:
        """Let it run to its next pause or its end; raise what ended it.

        `throw` is raised inside, at the place where it paused.
        """
        if self.ended:
            return
        self._throw, self.wake_at_ns = throw, None
        if self._thread is None:
            if throw is not None:  # it never began: there is nothing to unwind
                self.ended = True
                return
            self._thread = threading.Thread(target=self._main, daemon=True)
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised

    def _main(self) -> None:
        _running.fibre = self
        try:
            self._run()
        except BaseException as error:  # handed on to who resumed it
            self._raised = error
        self.ended = True
        self._back.release()

    def _pause(self, wake_at_ns: int | None) -> None:
        self.wake_at_ns = wake_at_ns
        self._back.release()
        self._go.acquire()
        if self._throw is not None:
            thrown, self._throw = self._throw, None
            raise thrown


def in_fibre() -> bool:
    """Tell whether the caller runs in a fibre, so that it can pause."""
    return getattr(_running, "fibre", None) is not None


def pause(wake_at_ns: int | None = None) -> None:
    """Hand control back to who resumed this fibre, until it is resumed again."""
    _running.fibre._pause(wake_at_ns)
