"""What can be said of an access token without a network and without a key (pure).

A token is untrusted text: it is measured before it is decoded, each field's type is checked before
its value, and nothing that it points at (`jku`, `x5u`, `jwk`) is ever read. What passes here names
a trusted issuer, and only then somebody is asked.
"""

import base64
import hmac
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from api.auth.users import MAX_TOKEN, InvalidToken
from specs.faults import InvalidSpec
from specs.json_text import UnreadableJson, read_json

ALGORITHMS: Final = frozenset(
    {f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)} | {"EdDSA"}
)
"""Signatures that only the holder of a private key can make."""

SKEW_S: Final = 60
"""How far ahead of ours an issuer's clock may be."""

MAX_LIFETIME_S: Final = 24 * 3600
"""Longest time between issue and expiry; what lives longer is no access token."""

MAX_SUBJECT: Final = 255
MAX_KEY_ID: Final = 256

_PART: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_MEDIA_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_UNREAD: Final = ("crit", "b64", "zip")
_EXACT: Final = 2**53
_OF_OTHERS: Final = ("at_hash", "c_hash", "events")
"""Claims of ID tokens and logout tokens."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a token says: well formed and in time, but its signature is not checked yet.

    `expires_at` is in seconds since 1970.
    """

    issuer: str
    subject: str
    algorithm: str
    key_id: str
    expires_at: float
    claims: Mapping[str, object] = field(repr=False)


def read_token(
    text: str, *, issuers: Collection[str], audiences: Collection[str], now: float
) -> Claimed:
    """Return what `text` claims. `now` is in seconds since 1970; no `audiences`: any is taken.

    Raises: InvalidToken.
    """
    header, claims = _decoded(text)
    algorithm, key_id = _signed_with(header)
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in issuers:
        raise InvalidToken("its issuer is not trusted")
    _check_kind(header, claims)
    expires_at = _check_times(claims, now)
    if audiences and not audiences_of(claims) & set(audiences):
        raise InvalidToken("it is for another audience")
    return Claimed(issuer, _subject(claims), algorithm, key_id, expires_at, claims)


def read_id_token(text: str, *, issuer: str, client_id: str, nonce: str, now: float) -> Claimed:
    """Return what the ID token of one login claims; its signature is not checked yet.

    It must be of that issuer, for that client, and answer the login that `nonce` was made for
    (OpenID Connect Core 1.0, 3.1.3.7). Raises: InvalidToken.
    """
    header, claims = _decoded(text)
    algorithm, key_id = _signed_with(header)
    if claims.get("iss") != issuer:
        raise InvalidToken("its issuer is another")
    aud = claims.get("aud")
    named = aud if isinstance(aud, list) else [aud]
    if client_id not in named or claims.get("azp", client_id) != client_id:
        raise InvalidToken("it is for another client")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise InvalidToken("it answers another login")
    expires_at = _check_times(claims, now)
    return Claimed(issuer, _subject(claims), algorithm, key_id, expires_at, claims)


def audiences_of(claims: Mapping[str, object]) -> set[str]:
    """Return whom a token is for: its `aud` and the client that it was issued to, `azp`."""
    aud = claims.get("aud")
    named = [*(aud if isinstance(aud, list) else [aud]), claims.get("azp")]
    return {name for name in named if isinstance(name, str)}


def _decoded(text: str) -> tuple[Mapping[str, object], Mapping[str, object]]:
    if len(text) > MAX_TOKEN or not text.isascii():
        raise InvalidToken("it is no ASCII text of at most 16384 characters")
    parts = text.split(".")
    if len(parts) != 3:
        raise InvalidToken("it has not three parts")
    header, payload, _ = (_bytes(part) for part in parts)
    return _object(header), _object(payload)


def _bytes(part: str) -> bytes:
    if not _PART.fullmatch(part):
        raise InvalidToken("a part is not base64url")
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError as error:
        raise InvalidToken("a part is not base64url") from error
    # One token has one text: otherwise a good token could be written in many ways.
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise InvalidToken("a part is not base64url")
    return raw


def _object(raw: bytes) -> Mapping[str, object]:
    try:
        tree = read_json(raw)
    except (UnreadableJson, InvalidSpec) as error:
        raise InvalidToken("a part is not JSON") from error
    if not isinstance(tree, dict):
        raise InvalidToken("a part is not a JSON object")
    return tree


def _signed_with(header: Mapping[str, object]) -> tuple[str, str]:
    algorithm, key_id, media_type = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidToken("its algorithm is not taken")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID:
        raise InvalidToken("it names no key")
    if not isinstance(media_type, str) or media_type.lower() not in _MEDIA_TYPES:
        raise InvalidToken("it is not of type JWT")
    if any(name in header for name in _UNREAD):
        raise InvalidToken("its header asks for what is not done here")
    return algorithm, key_id


def _check_kind(header: Mapping[str, object], claims: Mapping[str, object]) -> None:
    if "cnf" in claims:
        raise InvalidToken("it is bound to a key, and no proof is read here")
    kind = claims.get("typ", "Bearer")
    if kind != "Bearer":
        raise InvalidToken("it is no access token")
    # Older Keycloaks repeat the nonce in access tokens, which then say that they are such.
    declared = "typ" in claims or "at+jwt" in str(header.get("typ")).lower()
    if any(name in claims for name in _OF_OTHERS) or ("nonce" in claims and not declared):
        raise InvalidToken("it is no access token")


def _check_times(claims: Mapping[str, object], now: float) -> float:
    expires_at, issued_at = _instant(claims, "exp"), _instant(claims, "iat")
    if expires_at <= now:
        raise InvalidToken("it has expired")
    if issued_at > now + SKEW_S:
        raise InvalidToken("it was issued in the future")
    if expires_at - issued_at > MAX_LIFETIME_S:
        raise InvalidToken("it lives longer than a day")
    if "nbf" in claims and _instant(claims, "nbf") > now + SKEW_S:
        raise InvalidToken("it is not valid yet")
    return expires_at


def _instant(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _EXACT:
        raise InvalidToken(f"its {name} is no time")
    return float(value)


def _subject(claims: Mapping[str, object]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise InvalidToken("its subject is not a text of 1 to 255 characters")
    if any(unicodedata.category(char) in _UNPRINTABLE for char in subject):
        raise InvalidToken("its subject has characters that can't be seen")
    return subject
