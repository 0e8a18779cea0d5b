"""Users whose token was found good within the last minute."""

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from api.auth.users import User

FRESH_S: Final = 60.0
"""How long a token counts without its provider being asked: logout is seen within this time."""

MAX_USERS: Final = 10_000


class _Entry(NamedTuple):
    user: User
    stale_at: float
    expires_at: float


class RecentUsers:
    """Users by the digest of their token; bounded in number and time. Safe from any thread.

    Ages go by `monotonic`, which no operator can set; a token's own expiry by `now`.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        max_users: int = MAX_USERS,
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._max_users = max_users
        self._entries: dict[bytes, _Entry] = {}
        self._lock = threading.Lock()

    def get(self, digest: bytes) -> User | None:
        """Return the user, where the token is still fresh and has not expired."""
        entry = self._entries.get(digest)
        if entry is None or self._monotonic() >= entry.stale_at or self._now() >= entry.expires_at:
            return None
        return entry.user

    def keep(self, digest: bytes, user: User, *, asked_at: float, expires_at: float) -> None:
        """Remember a user whose provider was asked at `asked_at`, by the monotonic clock."""
        with self._lock:
            self._entries.pop(digest, None)
            if len(self._entries) >= self._max_users:
                # The first is the oldest: all are kept for the same time.
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = _Entry(user, asked_at + FRESH_S, expires_at)


def digest_of(token: str) -> bytes:
    """Return what stands for a token in memory, so that no dump of it holds one."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
