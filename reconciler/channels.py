"""The two ways out: a signed POST to a webhook, and mail through one SMTP server."""

import smtplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from reconciler.catalog.hosts import Refused
from reconciler.catalog.http import Http, Unreachable
from reconciler.notices import letter, signature, webhook_body
from reconciler.notify_section import SmtpSettings, WebhookSettings, hosts_of
from specs.contacts import Contacts
from specs.outbox import Row
from specs.timed import Deadline

POST_WITHIN_S: Final = 10.0
"""Longest time that one POST may take, connecting included."""

SMTP_STEP_S: Final = 10.0
"""Longest wait for one answer of an SMTP server."""

MAX_ANSWER: Final = 65_536
"""Bytes that a webhook may answer; nobody reads them."""

MIN_SECRET: Final = 16
"""Characters of a secret below which its signatures could be guessed."""

PERMANENT: Final = 500
"""SMTP's codes from here on say that trying again changes nothing."""


class NotTaken(Exception):
    """The receiver is there and did not take this one. `str()` says why and quotes no text."""


class NeverTaken(NotTaken):
    """It will not take this one later either."""


class Down(Exception):
    """The receiver is not there, for nobody. `str()` says why and holds no secret."""


class SecretFault(Exception):
    """A secret's file can't be used; `str()` says which and why, and never what is in it."""


class Channel(Protocol):
    """A way out to one destination."""

    def deliver(self, rows: Sequence[Row]) -> None:
        """Tell what is due of one line, in order, at once.

        Raises: NotTaken; NeverTaken; Down; SecretFault.
        """
        ...

    def close(self) -> None:
        """Close what is kept open between two deliveries."""
        ...


class WebhookChannel:
    """One webhook. Its secret is read for each message, so that a new one needs no restart."""

    def __init__(
        self,
        webhook: WebhookSettings,
        context: ssl.SSLContext,
        *,
        page_url: str | None,
        now: Callable[[], datetime],
    ) -> None:
        self._webhook = webhook
        self._page_url = page_url
        self._now = now
        self._http = Http(hosts_of(webhook.url), context, max_bytes=MAX_ANSWER)

    def deliver(self, rows: Sequence[Row]) -> None:
        """Send one POST for each row. Raises: NotTaken; Down; SecretFault."""
        secret = secret_in(self._webhook.secret_file).encode()
        for row in rows:
            self._post(row, secret)

    def close(self) -> None:
        """Close the connections that were kept."""
        self._http.close()

    def _post(self, row: Row, secret: bytes) -> None:
        body = webhook_body(row, self._page_url)
        timestamp = int(self._now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "X-AI4PAPI-Delivery": row.delivery,
            "X-AI4PAPI-Timestamp": str(timestamp),
            "X-AI4PAPI-Signature": signature(secret, timestamp, body),
        }
        try:
            status = self._http.post(
                self._webhook.url, body, Deadline(POST_WITHIN_S), headers=headers
            )
        except (Refused, Unreachable) as error:
            raise Down(str(error)) from error
        if not 200 <= status < 300:
            raise NotTaken(f"it answered {status}")


class MailChannel:
    """Mail to owners, all that is due to one of them in one mail."""

    def __init__(
        self,
        smtp: SmtpSettings,
        contacts: Contacts,
        context: ssl.SSLContext,
        *,
        page_url: str | None,
        now: Callable[[], datetime],
    ) -> None:
        self._smtp = smtp
        self._contacts = contacts
        self._context = context
        self._page_url = page_url
        self._now = now

    def deliver(self, rows: Sequence[Row]) -> None:
        """Send one mail. Raises: NotTaken; NeverTaken; Down; SecretFault."""
        to = self._contacts.address(rows[0].owner)
        if to is None:
            raise NeverTaken("no address of its owner is known")
        mail = letter(
            rows, sender=self._smtp.sender, to=to, now=self._now(), page_url=self._page_url
        )
        with _smtp_faults(), closing(self._connected()) as server:
            server.send_message(mail)
            # It was taken. That a server leaves without a word must not send it again.
            with suppress(smtplib.SMTPException, OSError):
                server.quit()

    def close(self) -> None:
        """Do nothing: each mail has a connection of its own."""

    def _connected(self) -> smtplib.SMTP:
        smtp = self._smtp
        if smtp.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                smtp.host, smtp.port, timeout=SMTP_STEP_S, context=self._context
            )
        else:
            server = smtplib.SMTP(smtp.host, smtp.port, timeout=SMTP_STEP_S)
        try:
            if smtp.tls == "starttls":
                server.starttls(context=self._context)
            if smtp.user is not None and smtp.password_file is not None:
                server.login(smtp.user, secret_in(smtp.password_file, at_least=1))
        except BaseException:
            server.close()
            raise
        return server


@contextmanager
def _smtp_faults() -> Iterator[None]:
    """Say what a failure means; a server's text may quote the address, so none of it is told."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        code = max(code for code, _ in error.recipients.values())
        raise _not_taken(code, "the owner's address") from error
    except smtplib.SMTPDataError as error:
        raise _not_taken(error.smtp_code, "the mail") from error
    except smtplib.SMTPResponseException as error:
        raise Down(f"{type(error).__name__}: the server answered {error.smtp_code}") from error
    except ssl.SSLCertVerificationError as error:
        raise Down(f"its certificate is not trusted: {error.verify_message}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise Down(type(error).__name__) from error


def _not_taken(code: int, what: str) -> NotTaken:
    kind = NeverTaken if code >= PERMANENT else NotTaken
    return kind(f"{what} was refused with {code}")


def secret_in(path: Path, *, at_least: int = MIN_SECRET) -> str:
    """Return the secret that a file holds, without blanks around it. Raises: SecretFault."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise SecretFault(f"{path} can't be read: {type(error).__name__}") from None
    if not secret.isascii():
        raise SecretFault(f"{path} holds more than ASCII, which no server understands alike")
    if len(secret) < at_least:
        raise SecretFault(f"{path} holds {len(secret)} characters: at least {at_least} are needed")
    return secret
