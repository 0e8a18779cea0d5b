"""Where owners who asked for mail are reached: kept for that, and for as long as that only."""

import re
from typing import Final

from sqlalchemy import Connection, and_, bindparam, delete, exists, or_, select, text

from specs.database import Database
from specs.model import Owner
from specs.moments import BY_MAIL, NOTIFY
from specs.records import json_text
from specs.schema import contacts, deployments, trash

MAX_ADDRESS: Final = 254
"""RFC 5321: the longest address that a path can carry."""

# Dot-atoms and host names only: no quoted names, comments, groups, routes or line breaks.
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    re.ASCII,
)
MAX_LOCAL_PART: Final = 64

ADDRESS: Final = select(contacts.c.address).where(
    contacts.c.owner_iss == bindparam("iss"), contacts.c.owner_sub == bindparam("sub")
)
# One statement for both databases; SQLAlchemy has it only per dialect.
WRITE: Final = text(
    "INSERT INTO contacts (owner_iss, owner_sub, address) VALUES (:iss, :sub, :address)"
    " ON CONFLICT (owner_iss, owner_sub) DO UPDATE SET address = excluded.address"
)

ASKED: Final = f"%{json_text({NOTIFY: BY_MAIL})[1:-1]}%"
"""What the JSON of annotations holds where mail is asked for; quotes in a value are escaped."""

_OF_OWNER: Final = [
    and_(table.c.owner_iss == contacts.c.owner_iss, table.c.owner_sub == contacts.c.owner_sub)
    for table in (deployments, trash)
]
FORGET: Final = delete(contacts).where(
    ~or_(
        exists().where(_OF_OWNER[0], deployments.c.annotations.like(ASKED)),
        # The trash keeps a whole record, so that its JSON is a text within JSON.
        exists().where(_OF_OWNER[1], trash.c.record.like(f"%{NOTIFY}%")),
    )
)


def is_address(address: str) -> bool:
    """Whether mail can be sent there as it stands: `name@host` in plain ASCII."""
    local, _, _ = address.partition("@")
    bounded = len(address) <= MAX_ADDRESS and len(local) <= MAX_LOCAL_PART
    return bounded and _ADDRESS.fullmatch(address) is not None


class Contacts:
    """The addresses of one store. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def address(self, owner: Owner) -> str | None:
        """Return where an owner who asked for mail is reached, None where that is not known."""
        with self._database.read() as connection:
            given = owner._asdict()
            address: str | None = connection.execute(ADDRESS, given).scalar_one_or_none()
        return address

    def keep(self, owner: Owner, address: str) -> None:
        """Have an owner reached there from now on; nothing is written where that is known."""
        if self.address(owner) == address:
            return
        with self._database.write() as connection:
            connection.execute(WRITE, {**owner._asdict(), "address": address})
            connection.commit()


def forget_contacts(connection: Connection) -> int:
    """Forget the addresses of those who no longer ask for mail; return how many."""
    return connection.execute(FORGET).rowcount
