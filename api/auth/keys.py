"""The public keys that a provider publishes (JWKS, RFC 7517), and what they may verify (pure)."""

from collections.abc import Iterator, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWS
from jwt.exceptions import PyJWTError

from api.auth.tokens import ALGORITHMS

MAX_KEYS: Final = 100
RSA_BITS: Final = range(2048, 8193)
"""Shorter keys can be broken, longer ones cost seconds to use."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
Keys = Mapping[tuple[str, str], PublicKey]
"""By key id and algorithm: a key that does not fit the algorithm is not found."""

_RSA: Final = frozenset(name for name in ALGORITHMS if name[:2] in {"RS", "PS"})
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def read_keys(document: Mapping[str, object]) -> dict[tuple[str, str], PublicKey]:
    """Return the keys of a JWKS that can verify tokens; what else it holds is left out.

    Raises: ValueError where it is no JWKS.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"it has no list `keys` of at most {MAX_KEYS}")
    keys: dict[tuple[str, str], PublicKey] = {}
    for entry in listed:
        for name, key in _usable(entry):
            keys.setdefault(name, key)
    return keys


def is_signed(token: str, *, algorithm: str, key: PublicKey) -> bool:
    """Whether `key` made the signature of `token` by this very algorithm."""
    try:
        PyJWS().decode_complete(token, key=key, algorithms=[algorithm])
    except PyJWTError:
        return False
    return True


def _usable(entry: object) -> Iterator[tuple[tuple[str, str], PublicKey]]:
    if not isinstance(entry, dict) or "d" in entry or not _is_for_signatures(entry):
        return
    key_id, key = entry.get("kid"), _key(entry)
    if not isinstance(key_id, str) or key is None:
        return
    for algorithm in _algorithms_of(key):
        if entry.get("alg") in (None, algorithm):
            yield (key_id, algorithm), key


def _is_for_signatures(entry: Mapping[str, object]) -> bool:
    operations = entry.get("key_ops")
    verifies = operations is None or (isinstance(operations, list) and "verify" in operations)
    return entry.get("use") in (None, "sig") and verifies


def _key(entry: Mapping[str, object]) -> PublicKey | None:
    try:
        # Without its `alg`, PyJWT goes by the kind of key; what it is good for is decided below.
        key = PyJWK({name: value for name, value in entry.items() if name != "alg"}).key
    except (PyJWTError, ValueError, TypeError):
        return None
    return key if isinstance(key, PublicKey) else None


def _algorithms_of(key: PublicKey) -> frozenset[str]:
    match key:
        case RSAPublicKey():
            return _RSA if key.key_size in RSA_BITS else frozenset()
        case EllipticCurvePublicKey():
            name = _CURVES.get(key.curve.name)
            return frozenset({name}) if name else frozenset()
        case _:
            return frozenset({"EdDSA"})
