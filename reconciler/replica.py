"""This process's part in the work of a site that several reconcilers share.

Every replica follows wishes and clusters, so each is warm for what the others do; but it looks only
at deployments of the parts that it holds, and does the single duties of the site only with the part
that they go with. What it is given, it is told of, so that nothing due there is forgotten.
"""

import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from specs.faults import StoreUnavailable
from specs.leases import BEAT_S, Leases, Standing
from specs.shards import SHARDS, SITE, shard_of

log = logging.getLogger(__name__)

SHORTLY_S: Final = 0.1
"""When to look again whether the looks in parts that are to be left have ended."""


class Replica:
    """What is ours to do. Without `leases` everything is, and so it is before `begin`.

    `gained` is called with the parts that were not ours the moment before. Thread-safe.
    """

    name = "leases"

    def __init__(
        self, leases: Leases | None, gained: Callable[[frozenset[int]], None] = lambda _: None
    ) -> None:
        self._leases = leases
        self._gained = gained
        self._shares = False
        self._looks: Counter[int] = Counter()
        self._leaving: frozenset[int] = frozenset()
        self._told: frozenset[int] = frozenset()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Take part from now on. Where the store does not answer, `run` tries again."""
        if self._leases is None:
            self._gained(frozenset(range(SHARDS)))
            return
        self._shares = True
        log.info(
            "replica begun",
            extra={"replica": self._leases.id, "host": socket.gethostname(), "pid": os.getpid()},
        )
        self._beat()

    def run(self, stop: threading.Event) -> None:
        """Renew, take and give up until `stop` is set."""
        while not stop.is_set():
            stop.wait(SHORTLY_S if self._leaving else BEAT_S)
            if not stop.is_set() and self._shares:
                self._beat()

    def leave(self) -> None:
        """Hand everything over at once; nothing of ours is under way any more."""
        if self._leases is None or not self._shares:
            return
        try:
            self._leases.release()
        except StoreUnavailable as error:
            log.warning("leases not released", extra={"error": str(error)})

    def does_site(self) -> bool:
        """Whether the single duties of the site are ours."""
        return self._does(SITE)

    def does(self, uid: str) -> bool:
        """Whether the work of a deployment is ours at this moment."""
        return self._does(shard_of(uid))

    @contextmanager
    def looking(self, uid: str) -> Iterator[bool]:
        """Tell whether a look at a deployment is ours; its part is not given up before its end."""
        shard = shard_of(uid)
        with self._lock:
            ours = self._does(shard)
            self._looks[shard] += ours
        try:
            yield ours
        finally:
            with self._lock:
                self._looks[shard] -= ours

    def require(self, uid: str) -> None:
        """Let a look go on that is still ours: before each write to a cluster.

        Raises: LeaseLost.
        """
        if self._leases is not None and self._shares:
            self._leases.require(shard_of(uid))

    def standing(self) -> Standing | None:
        """Return our part in the work; None where it is not shared."""
        return self._leases.standing() if self._leases is not None else None

    def _does(self, shard: int) -> bool:
        return self._leases is None or not self._shares or self._leases.holds(shard)

    def _beat(self) -> None:
        if self._leases is None:
            return
        before = self._held(self._leases) & self._told
        try:
            with self._lock:
                done = frozenset(shard for shard in self._leaving if not self._looks[shard])
            self._leaving = self._leases.beat(given_up=done)
            held = self._held(self._leases)
            if gained := held - before:
                self._gained(gained)
            self._told = held
        except StoreUnavailable as error:
            log.warning("leases not renewed", extra={"error": str(error)})
            return
        if held != before:
            log.info("parts changed", extra={"replica": self._leases.id, "parts": sorted(held)})

    @staticmethod
    def _held(leases: Leases) -> frozenset[int]:
        return frozenset(filter(leases.holds, range(SHARDS)))
