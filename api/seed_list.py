"""The seed's list of deployments, put together from what was said of each before.

A deployment's version moves with everything that its entry shows, so an entry is made once for a
version, whoever asks. Dashboards ask for their whole list every few seconds.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from api.views import seed_view
from specs.model import Reach
from specs.store import SpecStore

KEPT: Final = 20_000
"""Entries that are kept, those asked for last: some 12 MB."""

AT_ONCE: Final = 500
"""Records that one question to the store reads."""


class SeedList:
    """The entries by deployment and version. Thread-safe."""

    def __init__(self, store: SpecStore) -> None:
        self._store = store
        self._entries: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, reach: Reach) -> bytes:
        """Return the deployments within reach as JSON, newest first."""
        versions = self._store.versions(reach)
        known = self._known(versions)
        missing = [uid for uid, version in versions if (uid, version) not in known]
        for first in range(0, len(missing), AT_ONCE):
            for record in self._store.get_many(missing[first : first + AT_ONCE]):
                entry = seed_view(record).model_dump_json(exclude_unset=True).encode()
                # A record may have moved on since its version was read; then it is shown as it is.
                known[record.uid, record.resource_version] = entry
        newest = {uid: entry for (uid, _), entry in known.items()}
        self._keep(known)
        return b"[" + b",".join(newest[uid] for uid, _ in versions if uid in newest) + b"]"

    def _known(self, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
        with self._lock:
            return {key: self._entries[key] for key in versions if key in self._entries}

    def _keep(self, used: dict[tuple[str, int], bytes]) -> None:
        with self._lock:
            for key, entry in used.items():
                self._entries[key] = entry
                self._entries.move_to_end(key)
            while len(self._entries) > KEPT:
                self._entries.popitem(last=False)
