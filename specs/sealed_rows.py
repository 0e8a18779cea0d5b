"""Seals what an older version of this program left open in the tables."""

from typing import Final

from pydantic_core import from_json
from sqlalchemy import Connection, bindparam, select, update

from specs.records import json_text
from specs.schema import secrets, trash
from specs.sealing import MARK, Seal, opened, sealed

KEPT: Final = select(secrets.c.uid, secrets.c.name, secrets.c.value)
WRITE_VALUE: Final = (
    update(secrets)
    .where(secrets.c.uid == bindparam("of_uid"), secrets.c.name == bindparam("of_name"))
    .values(value=bindparam("sealed"))
)
TRASHED: Final = select(trash.c.uid, trash.c.secrets).where(trash.c.secrets != "{}")
WRITE_TRASHED: Final = (
    update(trash).where(trash.c.uid == bindparam("of_uid")).values(secrets=bindparam("sealed"))
)


def seal_all(connection: Connection, seal: Seal) -> None:
    """Seal every secret that is not, and prove that the others open.

    Raises:
        SealBroken: one was sealed with a key that the site no longer has.
    """
    for uid, name, value in connection.execute(KEPT).all():
        if value.startswith(MARK):
            seal.open(uid, name, value)
        else:
            given = {"of_uid": uid, "of_name": name, "sealed": seal.seal(uid, name, value)}
            connection.execute(WRITE_VALUE, given)
    for uid, kept in connection.execute(TRASHED).all():
        values = opened(uid, from_json(kept), seal)
        if any(not value.startswith(MARK) for value in from_json(kept).values()):
            given = {"of_uid": uid, "sealed": json_text(sealed(uid, values, seal))}
            connection.execute(WRITE_TRASHED, given)
