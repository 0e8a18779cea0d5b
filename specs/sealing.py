"""Seals secrets before they reach the database, so that a dump or a backup of it tells none.

Fernet of the library `cryptography`: AES-128-CBC with HMAC-SHA256 under a key that lies outside the
database. What is sealed names its record and field, so that no row can be put in another's place.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic_core import from_json, to_json

from specs.faults import Fault, InvalidSpec, SealBroken
from specs.private import text_made_once

MARK: Final = "sealed:1:"
"""How a sealed value begins; a value without it was stored before there were keys."""

FINGERPRINT: Final = 16

KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}=")


class Seal:
    """Seals with the first of `keys` and opens with any of them: put a new key in front.

    A key is 32 random bytes in base64, as `openssl rand -base64 32` writes them.

    Raises:
        ValueError: there is no key, or one is not of that form. The message repeats none.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("no key: give 32 random bytes in base64 (openssl rand -base64 32)")
        self._fernet = MultiFernet([Fernet(_checked(key)) for key in keys])
        self._print_key = hmac.digest(_checked(keys[0]), b"ai4papi fingerprints", "sha256")

    def seal(self, uid: str, name: str, value: str) -> str:
        """Return what the database may keep of the secret `name` of the record `uid`."""
        return MARK + self._fernet.encrypt(to_json([uid, name, value])).decode()

    def fingerprint(self, text: str) -> str:
        """Return 16 hexadecimal digits that tell `text` from others.

        Without the key nobody can try out what the text may have been. A new key changes them.
        """
        return hmac.digest(self._print_key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[
            :FINGERPRINT
        ]

    def open(self, uid: str, name: str, kept: str) -> str:
        """Return the value of what `seal` made for the same record and name.

        Raises:
            SealBroken: it was sealed with another key, for another place, or was tampered with.
        """
        try:
            of_uid, of_name, value = from_json(self._fernet.decrypt(kept.removeprefix(MARK)))
        except InvalidToken:
            of_uid = of_name = value = None
        if (of_uid, of_name) != (uid, name) or not isinstance(value, str):
            raise SealBroken(
                f"the secret {name} of {uid} can't be opened with the keys of this site: set the"
                " key that it was sealed with, or have its owner set it again"
            )
        return value


def keys_of(text: str) -> list[str]:
    """Return the keys of a text that separates them by commas or white space."""
    return re.split(r"[\s,]+", text.strip()) if text.strip() else []


def made_once(path: Path, make: Callable[[], bytes] = Fernet.generate_key) -> list[str]:
    """Return the keys in a file, with a new one where there was no file. Raises PermissionError."""
    return keys_of(text_made_once(path, lambda: make().decode()))


def fingerprint(text: str, seal: Seal | None) -> str:
    """Return `Seal.fingerprint`; a plain digest where the site has no key, and so no secrets."""
    if seal is not None:
        return seal.fingerprint(text)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:FINGERPRINT]


def sealed(uid: str, values: Mapping[str, str], seal: Seal | None) -> dict[str, str]:
    """Return the secrets of a record as the database may keep them.

    Raises:
        InvalidSpec: there are some and the site has no key.
    """
    if values and seal is None:
        raise InvalidSpec([_no_key(name) for name in values])
    return {name: seal.seal(uid, name, value) for name, value in values.items()} if seal else {}


def opened(uid: str, kept: Mapping[str, str], seal: Seal | None) -> dict[str, str]:
    """Return the secrets of a record from what the database keeps. Raises: SealBroken."""
    return {name: _opened(uid, name, value, seal) for name, value in kept.items()}


def _opened(uid: str, name: str, value: str, seal: Seal | None) -> str:
    if not value.startswith(MARK):
        return value
    if seal is None:
        raise SealBroken(f"the secret {name} of {uid} is sealed, and this site has no key")
    return seal.open(uid, name, value)


def _no_key(name: str) -> Fault:
    return Fault(
        pointer="/spec/" + name.replace(".", "/"),
        code="NoSecretsHere",
        message="this site can't keep secrets: its operator has set no AI4PAPI_SECRET_KEY",
        allowed="no value",
    )


def _checked(key: str) -> bytes:
    url_safe = key.translate(str.maketrans("+/", "-_"))
    padded = url_safe + "=" * (-len(url_safe) % 4)
    if not KEY.fullmatch(padded):
        raise ValueError(
            f"a key of {len(key)} characters is not 32 bytes in base64 (openssl rand -base64 32)"
        )
    return padded.encode()
