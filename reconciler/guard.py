"""Notices a spec store that is older than it was: restored, or cut by a damaged file.

An old store wishes for what is long over: it would bring back what was deleted and take back what
was changed. So the number of its newest durable write is kept outside of it, in a Nomad Variable
of its own; a store that is behind its mark writes nothing to the cluster until an operator says
that it is the right one (`python -m reconciler --accept-store`). A new, empty store has another id
and no mark: it harms nobody, because jobs carry the id of the store that made them.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from reconciler.cluster.protocol import Cluster
from reconciler.errors import ClusterError
from reconciler.jobs import JobRef
from specs.model import StoreIdentity

log = logging.getLogger(__name__)

MARK: Final = "durable"


class Identified(Protocol):
    """What the guard needs of the spec store."""

    def identity(self) -> StoreIdentity:
        """Return the store's id and the number of its newest durable write."""
        ...


def why_not_trusted(identity: StoreIdentity, mark: int | None) -> str:
    """Return why the store must not be acted on, "" where it may (pure)."""
    if mark is None or identity.durable >= mark:
        return ""
    return (
        f"the spec store is older than it was: its newest write is {identity.durable}, and Nomad"
        f" remembers {mark}; nothing is written to Nomad until an operator restores the right one"
        " or runs `python -m reconciler --accept-store`"
    )


@dataclass(slots=True)
class StoreGuard:
    """Compares the store with its mark. `trouble` says why nothing may be written ("": it may).

    One process of a site moves the mark: the one that `may_mark`.
    """

    cluster: Cluster
    store: Identified
    namespace: str
    may_mark: Callable[[], bool] = lambda: True
    trouble: str = field(default="", init=False)
    _marked: int | None = field(default=None, init=False)

    def check(self) -> str:
        """Compare, and move the mark up where all is well; return the trouble.

        Raises: ClusterError.
        """
        known = self.cluster.read_variable(self._ref(self.store.identity()))
        mark = _mark(known[0].get(MARK)) if known else None
        # Read after the mark: another process may write to the store, and mark that, in between.
        identity = self.store.identity()
        trouble = why_not_trusted(identity, mark)
        if trouble and trouble != self.trouble:
            log.error("store not recognised", extra={"trouble": trouble})
        self.trouble = trouble
        if not trouble and mark != identity.durable and self.may_mark():
            self._write(identity, if_index=known[1] if known else 0)
        self._marked = identity.durable
        return trouble

    def accept(self) -> None:
        """Take the store as it is for the right one. Raises: ClusterError."""
        identity = self.store.identity()
        known = self.cluster.read_variable(self._ref(identity))
        self._write(identity, if_index=known[1] if known else 0)
        self.trouble = ""

    def keep_up(self) -> None:
        """Move the mark up where the store moved on; costs no call where it did not.

        What goes wrong is only logged: the next time will do.
        """
        try:
            if self.trouble or self.store.identity().durable != self._marked:
                self.check()
        except ClusterError as error:
            log.warning("store mark not kept", extra={"error": str(error)})

    def _write(self, identity: StoreIdentity, *, if_index: int) -> None:
        items = {MARK: str(identity.durable)}
        self.cluster.put_variable(self._ref(identity), items, if_index=if_index)

    def _ref(self, identity: StoreIdentity) -> JobRef:
        return JobRef(self.namespace, f"ai4papi-store-{identity.store_id}")


def _mark(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
