"""The types of the settings' fields: what a value may be, and what is said of others (pure)."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reconciler.catalog.hosts import checked_host
from reconciler.origins import checked_origin
from specs.catalog.indexes import template_fault


class Section(BaseModel):
    """A part of the settings; unknown keys are refused, types are not guessed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _url(text: str) -> str:
    if not text.startswith(("https://", "http://")) or any(c.isspace() for c in text):
        raise ValueError("must be an address that begins with https:// (or http://)")
    return text


def _issuer(text: str) -> str:
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?", text, re.ASCII):
        raise ValueError("must be an address that begins with https://")
    if any(mark in text for mark in "?#\\"):
        raise ValueError("must be an address without a query or fragment")
    try:
        urlsplit(text).port  # noqa: B018
    except ValueError as error:
        raise ValueError("must be an address with a port up to 65535") from error
    return text


def _raw_template(text: str) -> str:
    if fault := template_fault(text):
        raise ValueError(fault)
    return text


Url = Annotated[str, AfterValidator(_url)]
Issuer = Annotated[str, AfterValidator(_issuer)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,252}$")]
ClaimName = Annotated[str, Field(pattern=r"^[!-~]{1,253}$")]
Origin = Annotated[str, AfterValidator(checked_origin)]
WholeNumber = Annotated[int, Field(strict=True)]
VoName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$")]
Namespace = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,128}$")]
ScopeName = Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,255}$")]  # RFC 6749, appendix A.4
HostName = Annotated[str, AfterValidator(checked_host)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\.(json|yaml|yml)$")]
RawTemplate = Annotated[str, AfterValidator(_raw_template)]
PerMinute = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
