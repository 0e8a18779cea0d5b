"""The grammar of container image references: `repository[:tag][@digest]` (pure).

After github.com/distribution/reference, lower case throughout. A digest travels in the place of
the tag: a tag has no colon, so the two never mix up.
"""

import re
from typing import Final

MAX_REPOSITORY: Final = 255
"""Longest repository name that registries take, in characters."""

_HOST: Final = (
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[0-9]{1,5})?"
)
_PATH: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY: Final = rf"(?:{_HOST}/)?{_PATH}(?:/{_PATH})*"
TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|sha256:[0-9a-f]{64}"
"""A tag, or the digest in its place. Both patterns are those of JSON Schema too."""

_REPOSITORY: Final = re.compile(REPOSITORY, re.ASCII)
_TAG: Final = re.compile(TAG, re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def split_reference(reference: str) -> tuple[str, str]:
    """Split an image reference into repository and tag; a digest counts as the tag, none is "".

    The colon of a registry's port is no tag. Nothing is checked.
    """
    repository, _, tag = reference.partition("@")
    if not tag:
        head, slash, last = reference.rpartition("/")
        name, _, tag = last.partition(":")
        repository = f"{head}{slash}{name}"
    return (repository, tag) if tag else (reference, "")


def is_repository(text: str) -> bool:
    """Whether the text is the name of a repository, registry and port included."""
    return len(text) <= MAX_REPOSITORY and _REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether the text is a tag or a sha256 digest."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether the text is a sha256 digest."""
    return _DIGEST.fullmatch(text) is not None
