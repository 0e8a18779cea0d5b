"""Sends what the outbox holds: each destination in a thread of its own, so none waits for another.

At least once: a row goes when it was delivered. What a destination does not take is tried again,
ever later, for a day. What is before it in its line is delivered first.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from reconciler.channels import (
    Channel,
    Down,
    MailChannel,
    NeverTaken,
    NotTaken,
    SecretFault,
    WebhookChannel,
    secret_in,
)
from reconciler.notify_section import NotificationSettings
from reconciler.queue import backoff_s
from reconciler.settings import Settings, SettingsFault
from specs.authorities import NoAuthorities, trust
from specs.faults import StoreFull, StoreUnavailable
from specs.moments import OWNERS_MOMENTS, Subscription
from specs.outbox import Row
from specs.store import SpecStore, utc_now

log = logging.getLogger(__name__)

MAIL: Final = "mail"
"""The destination of owners' mail."""

DIGEST: Final = timedelta(minutes=1)
"""How long mail waits, so that what happens at once is told at once: an owner gets at most one a
minute, and who waits for a queue of hours waits a minute more."""

GIVE_UP: Final = timedelta(days=1)
"""What could not be delivered for so long is no news any more."""

POLL_S: Final = 2.0
"""How often the outbox is looked into: one indexed read."""

BATCH: Final = 50
"""Lines that one look takes up."""

MOST_IN_MAIL: Final = 1_000
"""Notices that one mail sums up."""

FIRST_RETRY_S: Final = 5.0
LAST_RETRY_S: Final = 3_600.0
LAST_DOWN_S: Final = 60.0
"""A destination that is down is tried this often; one connection a minute costs nobody anything."""


class Sender:
    """What is sent to one destination. A source of the controller that puts nothing on a queue."""

    def __init__(
        self,
        subscription: Subscription,
        channel: Channel,
        store: SpecStore,
        *,
        random: Callable[[], float],
    ) -> None:
        self.destination = subscription.destination
        self.name = f"notify {subscription.destination}"
        self._together = subscription.of_owners
        self._channel = channel
        self._outbox = store.outbox
        self._random = random
        self._down = 0
        self._may: Callable[[], bool] = lambda: True

    def only_while(self, may: Callable[[], bool]) -> None:
        """Send only while `may` says yes: one process of a site sends."""
        self._may = may

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set."""
        while not stop.is_set():
            try:
                wait_s = self.run_once(stop)
            except (StoreUnavailable, StoreFull) as error:
                log.warning("outbox unavailable", extra={"error": str(error)})
                wait_s = POLL_S
            except Exception:  # the top of a thread: one odd answer must not end it
                log.exception("notifying failed", extra={"destination": self.destination})
                wait_s = LAST_DOWN_S
            stop.wait(wait_s)
        self._channel.close()

    def run_once(self, stop: threading.Event) -> float:
        """Send what is due now; return after how many seconds to look again."""
        if not self._may():
            return POLL_S
        if given_up := self._outbox.give_up(self.destination, after=GIVE_UP):
            self._log("notices given up", notices=given_up)
        due = self._outbox.due(self.destination, limit=BATCH)
        for first in due:
            if stop.is_set() or not self._may():
                break
            try:
                self._send(first)
            except (Down, SecretFault) as error:
                self._down += 1
                wait_s = retry_s(self._down, random=self._random, last_s=LAST_DOWN_S)
                self._log("destination down", error=str(error), delay_s=round(wait_s, 1))
                return wait_s
            self._down = 0
        return 0.0 if due else POLL_S

    def _send(self, first: Row) -> None:
        rows = [first]
        if self._together:
            rows = self._outbox.line(self.destination, first.line, limit=MOST_IN_MAIL)
        try:
            self._channel.deliver(rows)
        except NeverTaken as error:
            self._outbox.remove(self.destination, rows)
            self._log("notices dropped", notices=len(rows), uid=first.notice.uid, error=str(error))
        except NotTaken as error:
            wait_s = retry_s(first.tries + 1, random=self._random, last_s=LAST_RETRY_S)
            self._outbox.postpone(self.destination, first, by=timedelta(seconds=wait_s))
            self._log("notice not taken", uid=first.notice.uid, error=str(error))
        else:
            self._outbox.remove(self.destination, rows)

    def _log(self, message: str, **fields: object) -> None:
        log.warning(message, extra={"destination": self.destination, **fields})


def retry_s(failures: int, *, random: Callable[[], float], last_s: float) -> float:
    """Return how long to wait after so many failures in a row, from 5 s up to `last_s`."""
    return backoff_s(failures, random=random, first_s=FIRST_RETRY_S, last_s=last_s)


def subscriptions_of(chosen: NotificationSettings) -> list[Subscription]:
    """Return what the store puts into its outbox; nothing where the site tells nobody."""
    webhooks = [
        Subscription(
            webhook.id,
            frozenset(webhook.events),
            None if webhook.vos is None else frozenset(webhook.vos),
        )
        for webhook in chosen.webhooks
    ]
    owners = Subscription(MAIL, OWNERS_MOMENTS, of_owners=True, delay=DIGEST)
    return [*webhooks, owners] if chosen.smtp else webhooks


def senders_of(
    settings: Settings,
    store: SpecStore,
    random: Callable[[], float],
    *,
    now: Callable[[], datetime] = utc_now,
    environ: Mapping[str, str] = os.environ,
) -> list[Sender]:
    """Return a sender for each destination. Nothing is sent yet.

    Raises: SettingsFault where a secret's file can't be used.
    """
    chosen = settings.notifications
    subscriptions = {one.destination: one for one in subscriptions_of(chosen)}
    if not subscriptions:
        return []
    try:
        context = trust(environ)
        channels: dict[str, Channel] = {
            webhook.id: WebhookChannel(webhook, context, page_url=chosen.page_url, now=now)
            for webhook in chosen.webhooks
        }
        for webhook in chosen.webhooks:
            secret_in(webhook.secret_file)
        if chosen.smtp is not None:
            if chosen.smtp.password_file is not None:
                secret_in(chosen.smtp.password_file, at_least=1)
            channels[MAIL] = MailChannel(
                chosen.smtp, store.contacts, context, page_url=chosen.page_url, now=now
            )
    except (NoAuthorities, SecretFault) as error:
        raise SettingsFault(f"notifications: {error}") from error
    return [
        Sender(subscriptions[destination], channel, store, random=random)
        for destination, channel in channels.items()
    ]
