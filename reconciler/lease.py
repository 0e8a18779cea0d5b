"""How long a deployment may run by its owner's own word: `ttl` and `expiresAt` (pure).

At the end the work is stopped and everything else is kept: a later end brings it back.
"""

from datetime import datetime, timedelta
from typing import Final

from specs.model import Deployment

WARNING: Final = timedelta(hours=1)
"""How long before the end its owner is warned; a shorter lease warns at once."""


def has_ended(deployment: Deployment, now: datetime) -> bool:
    """Whether the time is up."""
    ends_at = deployment.expires_at
    return ends_at is not None and ends_at <= now


def ends_soon(deployment: Deployment, now: datetime) -> bool:
    """Whether the end is near enough to warn, and not there yet."""
    ends_at = deployment.expires_at
    return ends_at is not None and now < ends_at <= now + WARNING


def wakes_at(deployment: Deployment, now: datetime) -> datetime | None:
    """Return the next instant at which the lease asks for a look: the warning's, then the end's."""
    ends_at = deployment.expires_at
    if ends_at is None or deployment.being_deleted or ends_at <= now:
        return None
    return ends_at if ends_at <= now + WARNING else ends_at - WARNING
