"""The section `notifications` of `etc/main_conf.yaml`: who is told of what happens (pure)."""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from reconciler.catalog.hosts import Hosts, Refused, checked_host
from reconciler.fields import Section, Url, VoName, WholeNumber
from specs.contacts import is_address
from specs.loopback import is_loopback
from specs.moments import Moment

WEBHOOK_URL: Final = "the webhook's url"
"""Where a host is named that may be told."""


def _webhook_url(url: str) -> str:
    try:
        target = hosts_of(url).target(url)
    except (Refused, ValueError):
        # Nothing of it is repeated: some services have their secret in the address.
        raise ValueError("must be https://host/path or https://host:port/path") from None
    if target.scheme != "https" and not is_loopback(target.host):
        raise ValueError("must begin with https://, but on this machine itself")
    return url


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("must be an address such as ai4papi@example.org")
    return text


class WebhookSettings(Section):
    """An address that is told, and of what; `vos` None: of every VO.

    `secret_file` holds what the messages are signed with.
    """

    url: Annotated[str, AfterValidator(_webhook_url)] = Field(repr=False)
    secret_file: Path
    events: Annotated[tuple[Moment, ...], Field(min_length=1)] = tuple(Moment)
    vos: Annotated[tuple[VoName, ...], Field(min_length=1)] | None = None

    @property
    def id(self) -> str:
        """What the webhook is called everywhere; its url may be a secret."""
        host = urlsplit(self.url).hostname
        return f"webhook {host} {sha256(self.url.encode()).hexdigest()[:8]}"


class SmtpSettings(Section):
    """The server that takes mail, and as whom; without `user` it asks for no login."""

    host: str = Field(min_length=1, max_length=253)
    port: WholeNumber = Field(default=587, ge=1, le=65535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = Field(default=None, pattern=r"^[!-~]{1,255}$")
    password_file: Path | None = None
    sender: Annotated[str, AfterValidator(_address)] = Field(alias="from")

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        if not re.fullmatch(r"[^:]+|\[.+\]", checked_host(host)):
            raise ValueError("must be a host without a port: that goes into smtp.port")
        return host.strip("[]")

    @model_validator(mode="after")
    def _login_is_whole_and_sealed(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together: give both")
        if self.user is not None and self.tls == "none" and not is_loopback(self.host):
            raise ValueError("a password goes over starttls or tls only")
        return self


class NotificationSettings(Section):
    """Whom the site tells; `page_url` is where a browser finds the deployments."""

    webhooks: tuple[WebhookSettings, ...] = ()
    smtp: SmtpSettings | None = None
    page_url: Url | None = None

    @field_validator("webhooks")
    @classmethod
    def _are_told_apart(cls, webhooks: Sequence[WebhookSettings]) -> Sequence[WebhookSettings]:
        urls = [webhook.url for webhook in webhooks]
        if len(set(urls)) < len(urls):
            raise ValueError("two webhooks have the same url: name their events and vos in one")
        return webhooks


def hosts_of(url: str) -> Hosts:
    """Return the one host of a webhook as what may be asked. Raises: ValueError."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return Hosts([host], setting=WEBHOOK_URL)
