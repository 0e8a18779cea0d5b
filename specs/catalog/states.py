"""How a source of modules stands, as it is stored and shown (pure)."""

from datetime import datetime

from specs.model import Shown


class CatalogState(Shown):
    """What is known of a source of modules. `url` has no credential in it.

    `read_at` is when it was last read whole, `expires_at` when that gets too old, `error` why it
    can't be read now ("": it can). `modules` and `faults` count what it lists.
    """

    source: str
    kind: str
    url: str = ""
    read_at: datetime | None = None
    expires_at: datetime | None = None
    error: str = ""
    modules: int = 0
    faults: int = 0
