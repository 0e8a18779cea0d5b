"""How much one caller may ask for: rates by user, VO and address, and places for long polls (pure).

Counted in this process's memory: with several replicas each limit holds for every one of them. Only
the event loop's thread may call what is here; the clock is an argument.
"""

import ipaddress
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from api.auth import User
from api.problems import TooManyRequests
from specs.model import Owner

MINUTE_S: Final = 60.0

WAIT_AGAIN_S: Final = 5
"""When to ask again for a place to wait; when one gets free is not known before."""

_ROUNDING_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class LimitRules:
    """What the operator allows in a minute, and of waits at a time; None: no limit."""

    user_requests: int | None = None
    user_writes: int | None = None
    vo_writes: int | None = None
    address_failures: int | None = None
    user_waits: int | None = None


NO_LIMITS: Final = LimitRules()


class Rate:
    """So many a minute for each key, and all of them at once after a quiet minute.

    The generic cell rate algorithm (ITU-T I.371): of each key only the instant is kept at which its
    minute is quiet again, so that the time to wait is exact.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._step_s = MINUTE_S / per_minute if per_minute else 0.0
        self._clock = clock
        self._quiet_at: dict[Hashable, float] = {}
        self._most_keys = 1024

    def take(self, key: Hashable) -> float:
        """Count one and return 0, or count none and return the seconds until one is allowed."""
        if not self._step_s:
            return 0.0
        now = self._clock()
        quiet_at = max(self._quiet_at.get(key, now), now) + self._step_s
        wait_s = quiet_at - now - MINUTE_S
        if wait_s > _ROUNDING_S:
            return wait_s
        self._quiet_at[key] = quiet_at
        if len(self._quiet_at) > self._most_keys:
            self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        self._quiet_at = {key: at for key, at in self._quiet_at.items() if at > now}
        # Twice what is left: on average a request looks at two keys, however many there are.
        self._most_keys = max(1024, 2 * len(self._quiet_at))


class Limits:
    """The limits of one server, and how much of them is used up."""

    def __init__(self, rules: LimitRules, *, clock: Callable[[], float]) -> None:
        self._requests = Rate(rules.user_requests, clock)
        self._writes = Rate(rules.user_writes, clock)
        self._vo_writes = Rate(rules.vo_writes, clock)
        self._failures = Rate(rules.address_failures, clock)
        self._most_waits = rules.user_waits
        self._waits: Counter[Owner] = Counter()

    def admit(self, user: User, *, writes: bool) -> None:
        """Count a request of `user`. Raises `TooManyRequests`.

        A write counts for each VO that they may deploy in: which of them it names is not known
        before its body is read.
        """
        _take(self._requests, user.owner, "requests of one user")
        if writes:
            _take(self._writes, user.owner, "writes of one user")
            for vo in user.vos:
                _take(self._vo_writes, vo, "writes of one VO")

    def fail(self, address: str) -> None:
        """Count a request from `address` that nobody known sent. Raises `TooManyRequests`."""
        _take(self._failures, network_of(address), "requests of one address without a valid token")

    @contextmanager
    def wait(self, owner: Owner) -> Iterator[None]:
        """Hold one of `owner`'s places for long polls. Raises `TooManyRequests`."""
        if self._most_waits is not None and self._waits[owner] >= self._most_waits:
            raise TooManyRequests(
                f"{self._most_waits} of your requests are waiting, and no more may at a time",
                retry_after_s=WAIT_AGAIN_S,
            )
        self._waits[owner] += 1
        try:
            yield
        finally:
            self._waits[owner] -= 1
            if not self._waits[owner]:
                del self._waits[owner]


def network_of(address: str) -> str:
    """Return what one customer of a network provider can send from: of IPv6, the whole /64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return address
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((ip, 64), strict=False))


def _take(rate: Rate, key: Hashable, what: str) -> None:
    wait_s = rate.take(key)
    if wait_s:
        retry_after_s = math.ceil(wait_s)
        raise TooManyRequests(
            f"more than {rate.per_minute} {what} in a minute: wait {retry_after_s} s",
            retry_after_s=retry_after_s,
        )
