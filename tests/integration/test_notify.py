"""The senders against a real receiver and a real SMTP server that mean it ill."""

import hashlib
import hmac
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from api.auth import Role, User
from api.deployments import Deployments
from reconciler import channels
from reconciler.channels import MailChannel, WebhookChannel
from reconciler.notify import BATCH, DIGEST, MAIL, Sender, senders_of, subscriptions_of
from reconciler.notify_section import NotificationSettings, SmtpSettings, WebhookSettings
from reconciler.settings import SettingsFault, load_settings
from specs.model import Event, Phase
from specs.moments import NOTIFY, Subscription
from specs.store import SpecStore, utc_now
from specs.userconf import read_userconf
from specs.yaml_text import read_yaml
from tests.authority import Authority
from tests.builders import ALICE, SEAL, VO
from tests.contract.stores import BOB, Clock, a_wish, create, look, running
from tests.real import wait_until
from tests.receivers import MailServer, Receiver, hangs

ROOT = Path(__file__).parents[2]
SECRET = "s3cret-that-signs-it-all"
PASSWORD = "what-the-mail-server-asks-for"
ADA, ROB = "ada@example.org", "rob@example.org"
CONTEXT = ssl.create_default_context()
RUN = threading.Event()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "hook.key"
    path.write_text(SECRET + "\n")
    return path


@pytest.fixture
def open_store(tmp_path, clock):
    opened = []

    def open_one(*subscriptions):
        url = f"sqlite:///{tmp_path / 'specs.db'}"
        opened.append(SpecStore(url, seal=SEAL, now=clock, subscriptions=subscriptions))
        opened[-1].migrate()
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def mail_server():
    with MailServer() as server:
        yield server


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr("reconciler.notify.POLL_S", 0.01)


class Site:
    """A store that tells one destination, and what sends there."""

    def __init__(self, store, subscription, channel):
        self.store = store
        self.sender = Sender(subscription, channel, store, random=lambda: 1.0)

    def become(self, record, phase, reason="Why"):
        told = Event(reason, f"it is {phase}", to_phase=phase)
        status = running(phase=Phase(phase), reason=reason)
        assert look(self.store, record.uid, status, events=[told])

    def send(self):
        """Send until nothing is due; return after how many seconds the sender looks again."""
        while (wait_s := self.sender.run_once(RUN)) == 0:
            pass
        return wait_s

    def left(self):
        with self.store._database.read() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar_one()


@pytest.fixture
def hooked(open_store, receiver, secret_file, clock):
    webhook = WebhookSettings(url=receiver.url, secret_file=secret_file)
    (subscription,) = subscriptions_of(NotificationSettings(webhooks=(webhook,)))
    channel = WebhookChannel(webhook, CONTEXT, page_url=None, now=clock)
    yield Site(open_store(subscription), subscription, channel)
    channel.close()


def smtp_of(server, **changes):
    chosen = {"host": "127.0.0.1", "port": server.port, "tls": "none", "from": "papi@example.org"}
    return SmtpSettings(**(chosen | changes))


def mailing(store, server, clock, *, context=CONTEXT, **changes):
    smtp = smtp_of(server, **changes)
    channel = MailChannel(smtp, store.contacts, context, page_url=None, now=clock)
    store.contacts.keep(ALICE, ADA)
    store.contacts.keep(BOB, ROB)
    return Site(store, subscriptions_of(NotificationSettings(smtp=smtp))[-1], channel)


OWNERS = subscriptions_of(NotificationSettings(smtp=SmtpSettings(**{"host": "h", "from": "a@b.c"})))


@pytest.fixture
def mailed(open_store, mail_server, clock):
    return mailing(open_store(*OWNERS), mail_server, clock)


def asking(name="train-a", **changes):
    return replace(a_wish(name, **changes), annotations={NOTIFY: "mail"})


def events_in(receiver):
    told = [json.loads(post.body) for post in receiver.got]
    return [(one["deployment"]["name"], one["event"]) for one in told]


def said(caplog):
    """Everything of every log line, fields included."""
    return " ".join(str(vars(record)) for record in caplog.records)


def test_a_webhook_is_told_once_and_can_prove_who_told_it(hooked, receiver, clock):
    hooked.become(create(hooked.store), "Failed", "OutOfMemory")
    assert hooked.send() > 0
    (post,) = receiver.got
    timestamp = post.headers["X-AI4PAPI-Timestamp"]
    assert timestamp == str(int(clock().timestamp()))
    signed = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + post.body, hashlib.sha256)
    assert post.headers["X-AI4PAPI-Signature"] == f"sha256={signed.hexdigest()}"
    body = json.loads(post.body)
    assert post.headers["X-AI4PAPI-Delivery"] == body["id"]
    assert post.headers["Content-Type"] == "application/json"
    assert (body["event"], body["reason"], body["phase"]) == ("Failed", "OutOfMemory", "Failed")
    assert hooked.left() == 0
    hooked.send()
    assert len(receiver.got) == 1


def test_an_error_is_tried_again_later_in_order_and_delays_no_other_deployment(
    hooked, receiver, clock
):
    bad, good = create(hooked.store, a_wish("bad")), create(hooked.store, a_wish("good"))
    receiver.answer = lambda post: 500 if b'"bad"' in post.body else 200
    for record in (bad, good):
        hooked.become(record, "Failed")
        hooked.become(record, "Held")
    hooked.send()
    assert events_in(receiver) == [("bad", "Failed"), ("good", "Failed"), ("good", "Held")]
    for seconds in (5, 10, 20):
        clock.advance(seconds=seconds)
        hooked.send()
    assert events_in(receiver)[3:] == [("bad", "Failed")] * 3
    ids = {p.headers["X-AI4PAPI-Delivery"] for p in receiver.got if b'"bad"' in p.body}
    assert len(ids) == 1
    receiver.answer = lambda _: 200
    clock.advance(seconds=40)
    hooked.send()
    assert events_in(receiver)[6:] == [("bad", "Failed"), ("bad", "Held")]
    assert hooked.left() == 0


def test_after_a_day_a_notice_is_given_up_and_the_log_says_so(hooked, receiver, clock, caplog):
    receiver.answer = lambda _: 503
    hooked.become(create(hooked.store), "Failed")
    for _ in range(40):
        hooked.send()
        clock.advance(hours=1)
    assert hooked.left() == 0
    assert len(receiver.got) < 40
    (line,) = [record for record in caplog.records if record.message == "notices given up"]
    assert (line.notices, line.destination) == (1, hooked.sender.destination)
    assert line.levelno == logging.WARNING


def test_a_receiver_that_hangs_is_left_after_the_deadline_and_nothing_is_lost(
    hooked, receiver, monkeypatch
):
    monkeypatch.setattr(channels, "POST_WITHIN_S", 0.2)
    receiver.answer = lambda _: hangs
    for name in ("a", "b", "c"):
        hooked.become(create(hooked.store, a_wish(name)), "Failed")
    waits = [hooked.sender.run_once(RUN) for _ in range(3)]
    assert waits == [5, 10, 20]  # one connection each, however many wait
    assert len(receiver.got) == 3
    receiver.answer = lambda _: 204
    hooked.send()
    assert events_in(receiver)[3:] == [("a", "Failed"), ("b", "Failed"), ("c", "Failed")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_ssrf_a_webhook_that_sends_on_is_not_followed(hooked, receiver, status):
    with Receiver() as inner:
        receiver.answer = lambda _: lambda h: h.say(status, Location=inner.url)
        hooked.become(create(hooked.store), "Failed")
        hooked.send()
        assert inner.got == []
    assert hooked.left() == 1


def test_ssrf_a_name_that_leads_into_our_network_is_not_asked(
    open_store, secret_file, clock, caplog
):
    webhook = WebhookSettings(url="https://localhost/hook", secret_file=secret_file)
    subscription = Subscription(webhook.id)
    channel = WebhookChannel(webhook, CONTEXT, page_url=None, now=clock)
    site = Site(open_store(subscription), subscription, channel)
    site.become(create(site.store), "Failed")
    assert site.sender.run_once(RUN) == 5
    assert "no public address" in said(caplog)
    assert site.left() == 1


def test_an_endless_answer_ends(hooked, receiver):
    receiver.answer = lambda _: lambda h: h.say(200, b"x" * 1_000_000)
    hooked.become(create(hooked.store), "Failed")
    assert hooked.sender.run_once(RUN) == 5
    assert hooked.left() == 1


def test_a_secret_that_is_gone_stops_the_sending_and_one_that_changed_is_used(
    hooked, receiver, secret_file, caplog
):
    hooked.become(create(hooked.store), "Failed")
    secret_file.write_text("short")
    assert hooked.sender.run_once(RUN) == 5
    assert receiver.got == []
    secret_file.write_text("another-secret-of-some-length")
    hooked.send()
    (post,) = receiver.got
    signed = f"{post.headers['X-AI4PAPI-Timestamp']}.".encode() + post.body
    digest = hmac.new(b"another-secret-of-some-length", signed, hashlib.sha256).hexdigest()
    assert post.headers["X-AI4PAPI-Signature"] == f"sha256={digest}"
    assert "short" not in said(caplog).replace("shorter", "")


def test_more_than_a_batch_goes_out_in_several(hooked, receiver):
    for number in range(BATCH + 5):
        hooked.become(create(hooked.store, a_wish(f"train-{number}")), "Failed")
    assert hooked.sender.run_once(RUN) == 0
    assert len(receiver.got) == BATCH
    hooked.send()
    assert len(receiver.got) == BATCH + 5


def test_r_a_death_between_delivery_and_removal_tells_it_twice_under_one_id(
    hooked, receiver, monkeypatch
):
    hooked.become(create(hooked.store), "Failed")

    def dies(*_):
        raise SystemExit

    monkeypatch.setattr(hooked.store.outbox, "remove", dies)
    with pytest.raises(SystemExit):
        hooked.sender.run_once(RUN)
    monkeypatch.undo()
    hooked.send()
    first, second = (post.headers["X-AI4PAPI-Delivery"] for post in receiver.got)
    assert first == second


PROCESS = """
import ssl, sys, threading
from pathlib import Path
from reconciler.channels import WebhookChannel
from reconciler.notify import Sender
from reconciler.notify_section import WebhookSettings
from specs.moments import Subscription
from specs.store import SpecStore, utc_now
store = SpecStore(sys.argv[1])
hook = WebhookSettings(url=sys.argv[2], secret_file=Path(sys.argv[3]))
channel = WebhookChannel(hook, ssl.create_default_context(), page_url=None, now=utc_now)
Sender(Subscription(hook.id), channel, store, random=lambda: 1.0).run(threading.Event())
"""


def test_r_what_a_killed_process_had_under_way_is_sent_by_the_next(
    hooked, receiver, secret_file, tmp_path, clock
):
    clock.now = utc_now()
    receiver.answer = lambda _: hangs
    for name in ("a", "b"):
        hooked.become(create(hooked.store, a_wish(name)), "Failed")
    url = f"sqlite:///{tmp_path / 'specs.db'}"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, url, receiver.url, str(secret_file)], env=environ
    )
    try:
        wait_until(lambda: receiver.got, within_s=60, every_s=0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    receiver.answer = lambda _: 204
    hooked.send()
    assert events_in(receiver) == [("a", "Failed"), ("a", "Failed"), ("b", "Failed")]
    assert hooked.left() == 0


def test_an_owner_gets_one_mail_a_minute_that_sums_up_what_happened(mailed, mail_server, clock):
    records = [create(mailed.store, asking(f"train-{n}")) for n in range(40)]
    other = create(mailed.store, asking("of-bob"), owner=BOB)
    for record in (*records, other):
        mailed.become(record, "Queued")
        mailed.become(record, "Running", "Running")
    mailed.send()
    assert mail_server.got == []
    clock.advance(seconds=DIGEST.total_seconds())
    mailed.become(records[0], "Failed", "OutOfMemory")
    mailed.send()
    first, second = mail_server.got
    assert (first.to, second.to) == ([ADA], [ROB])
    assert first.message["Subject"] == "40 deployments: 40 Started, 1 Failed"
    assert "of-bob" not in first.text
    assert second.message["Subject"].startswith("of-bob (My training): Started")
    assert mailed.left() == 0


def test_mail_of_who_never_gave_an_address_is_dropped_with_a_word(mailed, mail_server, clock):
    with mailed.store._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM contacts")
        connection.commit()
    mailed.become(create(mailed.store, asking()), "Failed")
    clock.advance(minutes=1)
    mailed.send()
    assert (mail_server.connections, mailed.left()) == (0, 0)


def test_an_address_that_is_refused_for_good_costs_its_mail_and_no_other(
    mailed, mail_server, clock, caplog
):
    mail_server.refused[ADA] = "550 no such user <ada@example.org>"
    mailed.become(create(mailed.store, asking()), "Failed")
    mailed.become(create(mailed.store, asking("b"), owner=BOB), "Failed")
    clock.advance(minutes=1)
    mailed.send()
    assert [mail.to for mail in mail_server.got] == [[ROB]]
    assert mailed.left() == 0
    assert "refused with 550" in said(caplog)
    assert ADA not in said(caplog)


def test_an_address_that_is_refused_for_now_is_tried_again_and_delays_no_other(
    mailed, mail_server, clock
):
    mail_server.refused[ADA] = "450 later"
    mailed.become(create(mailed.store, asking()), "Failed")
    mailed.become(create(mailed.store, asking("b"), owner=BOB), "Failed")
    clock.advance(minutes=1)
    mailed.send()
    assert [mail.to for mail in mail_server.got] == [[ROB]]
    mail_server.refused.clear()
    clock.advance(seconds=5)
    mailed.send()
    assert [mail.to for mail in mail_server.got] == [[ROB], [ADA]]


@pytest.mark.parametrize(
    ("command", "reply"),
    [("EHLO", "421 busy"), ("MAIL", "451 later"), ("MAIL", "530 log in"), ("RCPT", "")],
)
def test_a_mail_server_that_is_not_ready_loses_nothing(mailed, mail_server, clock, command, reply):
    mailed.become(create(mailed.store, asking()), "Failed")
    clock.advance(minutes=1)
    mail_server.replies = {command: reply, "HELO": reply}
    assert mailed.sender.run_once(RUN) == 5
    assert mailed.sender.run_once(RUN) == 10
    mail_server.replies = {}
    mailed.send()
    assert len(mail_server.got) == 1


def test_mail_that_was_taken_is_not_sent_again_for_a_bad_good_bye(mailed, mail_server, clock):
    mail_server.replies["QUIT"] = "500 never"
    mailed.become(create(mailed.store, asking()), "Failed")
    clock.advance(minutes=1)
    mailed.send()
    assert (len(mail_server.got), mailed.left()) == (1, 0)


def test_a_password_goes_over_tls_to_a_server_that_is_who_it_says(
    open_store, clock, tmp_path, caplog
):
    authority = Authority(tmp_path / "ca")
    (tmp_path / "smtp.password").write_text(PASSWORD)
    login = {"tls": "starttls", "user": "papi", "password_file": tmp_path / "smtp.password"}
    with MailServer(authority.context("127.0.0.1")) as server:
        trusting = ssl.create_default_context(cafile=authority.file)
        site = mailing(open_store(*OWNERS), server, clock, context=trusting, **login)
        site.become(create(site.store, asking()), "Failed")
        clock.advance(minutes=1)
        site.send()
        (mail,) = server.got
        assert mail.tls
        assert mail.login.startswith("PLAIN ")
        stranger = mailing(site.store, server, clock, **login)
        site.become(create(site.store, asking("b")), "Failed")
        clock.advance(minutes=1)
        assert stranger.sender.run_once(RUN) == 5
        assert len(server.got) == 1
    assert "not trusted" in said(caplog)
    assert PASSWORD not in said(caplog)


def test_without_starttls_no_password_is_given_away(open_store, mail_server, clock, tmp_path):
    (tmp_path / "smtp.password").write_text("plain-password")
    login = {"tls": "starttls", "user": "papi", "password_file": tmp_path / "smtp.password"}
    site = mailing(open_store(*OWNERS), mail_server, clock, **login)
    mail_server.replies["STARTTLS"] = "454 not now"
    site.become(create(site.store, asking()), "Failed")
    clock.advance(minutes=1)
    assert site.sender.run_once(RUN) == 5
    assert mail_server.got == []


@pytest.mark.usefixtures("_impatient")
def test_a_dead_destination_delays_no_other(open_store, receiver, mail_server, secret_file, clock):
    receiver.answer = lambda _: hangs
    hook = WebhookSettings(url=receiver.url, secret_file=secret_file)
    store = open_store(Subscription(hook.id), *OWNERS)
    site = mailing(store, mail_server, clock)
    channel = WebhookChannel(hook, CONTEXT, page_url=None, now=clock)
    dead = Sender(Subscription(hook.id), channel, store, random=lambda: 1.0)
    site.become(create(store, asking()), "Failed")
    stop = threading.Event()
    threads = [threading.Thread(target=one.run, args=(stop,)) for one in (dead, site.sender)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: receiver.got, within_s=20, every_s=0.01)
        clock.advance(minutes=1)
        wait_until(lambda: mail_server.got, within_s=20, every_s=0.01)
    finally:
        stop.set()
        receiver.ended.set()
        for thread in threads:
            thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


CONF = read_userconf(read_yaml((ROOT / "etc" / "userconf.yaml").read_text()).tree)
USER = User(ALICE, "Alice", {VO: frozenset({Role.USER})}, email=ADA)


def body(name="train-a", **annotations):
    metadata = {"name": name, "vo": VO, "annotations": annotations}
    image = {"docker_image": "deephdc/image", "title": "t"}
    kind = {"apiVersion": "ai4papi/v1", "kind": "Deployment"}
    return {**kind, "metadata": metadata, "spec": {"general": image}}


ASKS = {NOTIFY: "mail"}


def test_who_asks_for_mail_is_reached_where_the_token_says(open_store):
    faces = Deployments(open_store(*OWNERS), CONF)
    faces.create(USER, body())
    assert faces.store.contacts.address(ALICE) is None
    faces.apply(USER, "train-a", body(**ASKS))
    assert faces.store.contacts.address(ALICE) == ADA
    faces.apply(replace(USER, email="new@example.org"), "train-a", body(**ASKS))
    assert faces.store.contacts.address(ALICE) == "new@example.org"
    faces.apply(replace(USER, email=""), "train-a", body(**ASKS))
    assert faces.store.contacts.address(ALICE) == "new@example.org"


def test_no_dry_run_no_operator_and_no_site_without_mail_keeps_an_address(open_store):
    faces = Deployments(open_store(*OWNERS), CONF)
    faces.create(USER, body(**ASKS), dry_run=True)
    faces.create(replace(USER, email=""), body(**ASKS))
    operator = replace(USER, owner=BOB, roles={VO: frozenset({Role.OPERATOR})}, email=ROB)
    faces.apply(operator.acting_for(ALICE), "train-a", body(**ASKS))
    assert faces.store.contacts.address(ALICE) is None
    assert faces.store.contacts.address(BOB) is None
    quiet = Deployments(open_store(), CONF)
    quiet.apply(USER, "train-a", body(**ASKS))
    assert quiet.store.contacts.address(ALICE) is None


def etc_with(tmp_path, text):
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("userconf.yaml", "job.nomad"):
        (etc / name).write_text((ROOT / "etc" / name).read_text())
    least = "auth: {VO: [vo.a]}\nnomad: {namespaces: {vo.a: a}}\n"
    (etc / "main_conf.yaml").write_text(least + text)
    return load_settings({"AI4PAPI_AUTH": "local"}, etc)


def test_a_site_has_a_sender_for_each_destination_and_none_by_default(
    tmp_path, secret_file, open_store
):
    text = (
        "notifications:\n"
        f"  webhooks: [{{url: 'https://hooks.example.org/s3cret', secret_file: {secret_file}}}]\n"
        "  smtp: {host: smtp.example.org, from: papi@example.org}\n"
    )
    settings = etc_with(tmp_path, text)
    senders = senders_of(settings, open_store(), random=lambda: 1.0)
    names = [sender.destination for sender in senders]
    assert names[1] == MAIL
    assert names[0].startswith("webhook hooks.example.org ")
    assert "s3cret" not in f"{names} {settings!r}"
    assert senders_of(load_settings({}), open_store(), random=lambda: 1.0) == []


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("0123456789", "holds 10 characters: at least 16"),
        ("", "holds 0 characters"),
        ("ä" * 20, "more than ASCII"),
        (None, "can't be read: FileNotFoundError"),
    ],
)
def test_a_secret_that_can_not_be_used_is_refused_at_the_start(tmp_path, open_store, secret, said):
    if secret is not None:
        (tmp_path / "key").write_text(secret)
    hook = f"{{url: 'https://hooks.example.org/x', secret_file: {tmp_path / 'key'}}}"
    settings = etc_with(tmp_path, f"notifications: {{webhooks: [{hook}]}}\n")
    with pytest.raises(SettingsFault, match=said) as refused:
        senders_of(settings, open_store(), random=lambda: 1.0)
    assert not secret or secret not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("webhooks: [{url: 'http://hooks.example.org/x', secret_file: k}]", "must be https://"),
        ("webhooks: [{url: 'http://h.example.org:80/x', secret_file: k}]", "must begin with https"),
        ("webhooks: [{url: 'https://u:p4ss@h.org/x', secret_file: k}]", "must be https://"),
        ("webhooks: [{url: 'ftp://h.org/p4ss', secret_file: k}]", "must be https://"),
        ("webhooks: [{url: 'https://h.org/x', secret_file: k, events: [Started, Won]}]", "Started"),
        ("webhooks: [{url: 'https://h.org/x', secret_file: k, events: []}]", "at least 1"),
        ("webhooks: [{url: 'https://h.org/x', secret_file: k, vos: [vo.b]}]", "vo.b"),
        ("webhooks: [{url: 'https://h.org/x'}]", "secret_file"),
        ("smtp: {host: 'h.org:25', from: a@b.org}", "smtp.port"),
        ("smtp: {host: h.org}", "from"),
        ('smtp: {host: h.org, from: "a@b.org\\r\\nBcc: e@x.org"}', "must be an address"),
        ("smtp: {host: h.org, from: a@b.org, user: u}", "go together"),
        ("smtp: {host: h.org, from: a@b.org, user: u, password_file: p, tls: none}", "starttls"),
        ("page_url: papi.example.org", "https://"),
    ],
)
def test_a_bad_section_is_refused_and_no_secret_address_repeated(tmp_path, text, said):
    with pytest.raises(SettingsFault, match=r"main_conf\.yaml:\d+: notifications") as refused:
        etc_with(tmp_path, f"notifications:\n  {text}\n")
    assert said in str(refused.value)
    assert "p4ss" not in str(refused.value)
