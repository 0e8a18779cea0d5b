"""What people and programs are told, word by word."""

import hashlib
import hmac
import json
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.notices import MAX_SUBJECT, letter, link_of, signature, subject_of, webhook_body
from reconciler.notify import retry_s
from specs.moments import Moment, Notice
from specs.outbox import Row
from tests.builders import ALICE, NOW, UID, VO

PAGE = "https://papi.example.org"
SENDER, TO = "ai4papi@example.org", "ada@example.org"


def a_row(number=7, **changes):
    told = {
        "moment": Moment.FAILED,
        "uid": UID,
        "name": "train-a",
        "title": "My training",
        "vo": VO,
        "generation": 3,
        "phase": "Failed",
        "reason": "OutOfMemory",
        "message": "task usertask used more memory than it asked for",
        "at": NOW,
    }
    return Row(number, "line", ALICE, Notice(**(told | changes)), tries=0)


def read(rows, **changes):
    mail = letter(rows, **({"sender": SENDER, "to": TO, "now": NOW, "page_url": PAGE} | changes))
    return message_from_bytes(mail.as_bytes(), policy=default)


def test_a_webhook_is_told_everything_but_whose_it_is():
    row = a_row()
    assert json.loads(webhook_body(row, PAGE)) == {
        "apiVersion": "ai4papi/v1",
        "kind": "Notice",
        "id": row.delivery,
        "event": "Failed",
        "at": "2026-11-24T12:00:00Z",
        "deployment": {
            "uid": UID,
            "name": "train-a",
            "title": "My training",
            "vo": VO,
            "generation": 3,
        },
        "phase": "Failed",
        "reason": "OutOfMemory",
        "message": "task usertask used more memory than it asked for",
        "hint": "raise ram, or make the work need less",
        "link": f"{PAGE}/ui/u/{UID}",
    }


def test_a_signature_is_an_hmac_over_the_time_and_the_body():
    expected = hmac.new(b"key", b'1764000000.{"a":1}', hashlib.sha256).hexdigest()
    assert signature(b"key", 1764000000, b'{"a":1}') == f"sha256={expected}"
    assert signature(b"key", 1764000001, b'{"a":1}') != f"sha256={expected}"


def test_a_delivery_has_the_same_id_each_time_and_its_own():
    assert a_row().delivery == a_row().delivery
    others = [a_row(8), a_row(uid="other"), a_row(at=NOW + timedelta(microseconds=1))]
    assert len({a_row().delivery, *(row.delivery for row in others)}) == 4


@pytest.mark.parametrize(
    ("page_url", "link"),
    [(None, None), (PAGE, f"{PAGE}/ui/u/{UID}"), (PAGE + "/papi/", f"{PAGE}/papi/ui/u/{UID}")],
)
def test_a_link_leads_to_the_deployment_where_the_site_has_a_page(page_url, link):
    assert link_of(a_row().notice, page_url) == link


def test_one_moment_is_a_mail_that_says_all_of_it():
    mail = read([a_row()])
    assert mail["Subject"] == "train-a (My training): Failed, OutOfMemory"
    assert (mail["From"], mail["To"]) == (SENDER, TO)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().replace("\r\n", "\n") == (
        f"train-a (My training) in {VO}: Failed, OutOfMemory\n"
        "  task usertask used more memory than it asked for\n"
        "  What to do: raise ram, or make the work need less\n"
        f"  2026-11-24T12:00:00Z, uid {UID}\n"
        f"  {PAGE}/ui/u/{UID}\n"
        "\n"
        "You get this because the annotation ai4papi/notify: mail stands in these deployments.\n"
        "Take it out, and no more is sent.\n"
    )


def test_a_burst_is_one_mail_that_names_the_first_and_counts_the_rest():
    rows = [a_row(n, uid=f"uid-{n}", name=f"train-{n}", moment=Moment.STARTED) for n in range(480)]
    rows += [a_row(n, uid=f"uid-{n}", name=f"train-{n}") for n in range(480, 500)]
    mail = read(rows)
    assert mail["Subject"] == "500 deployments: 480 Started, 20 Failed"
    text = mail.get_content()
    assert text.count("uid uid-") == 50
    assert "And 450 more." in text


def test_moments_of_one_deployment_are_told_in_their_order():
    mail = read([a_row(1, message="first"), a_row(2, message="then", moment=Moment.HELD)])
    assert mail["Subject"] == "1 deployment: 1 Failed, 1 Held"
    assert mail.get_content().index("first") < mail.get_content().index("then")


HOSTILE = "x\r\nBcc: eve@example.org\r\n\r\nbody\u202e\u2028\x1b[2J\ud800"


def test_no_title_or_message_starts_a_header_or_steers_a_terminal():
    row = a_row(title=HOSTILE, message=HOSTILE)
    mail = read([row])
    assert mail["Bcc"] is None
    assert set(mail.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
        *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
    }
    text = mail.get_content()
    assert not set(text) & set("\x1b\u202e\u2028")
    assert "\nBcc:" not in text.replace("\r", "\n")
    json.loads(webhook_body(row, None))


@pytest.mark.parametrize("where", ["to", "sender"])
def test_no_address_starts_a_header_even_if_one_got_that_far(where):
    with pytest.raises(ValueError, match=r"linefeed|newline|[Ii]nvalid"):
        letter(
            [a_row()],
            **{"sender": SENDER, "to": TO, where: "a@x.org\r\nBcc: eve@x.org"},
            now=NOW,
            page_url=None,
        )


def test_words_of_any_language_arrive_as_they_are_and_travel_as_ascii():
    row = a_row(title="Übung 訓練 🦆", message="größer als erlaubt")
    mail = letter([row], sender=SENDER, to=TO, now=NOW, page_url=None)
    assert mail.as_bytes().isascii()
    again = message_from_bytes(mail.as_bytes(), policy=default)
    assert again["Subject"] == "train-a (Übung 訓練 🦆): Failed, OutOfMemory"
    assert "größer als erlaubt" in again.get_content()
    assert "Übung 訓練 🦆".encode() in webhook_body(row, None)


@given(st.text(), st.text(), st.text())
def test_whatever_is_said_a_subject_is_one_short_line_and_a_mail_one_mail(title, message, reason):
    row = a_row(title=title, message=message, reason=reason)
    subject = subject_of([row.notice])
    assert len(subject) <= MAX_SUBJECT
    assert subject.isprintable()
    assert read([row])["To"] == TO
    assert json.loads(webhook_body(row, None))["deployment"]["name"] == "train-a"


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 2.5, 5), (3, 10, 20), (99, 1800, 3600)]
)
def test_tries_come_ever_later_up_to_an_hour(failures, least, most):
    assert retry_s(failures, random=lambda: 0.0, last_s=3600) == least
    assert retry_s(failures, random=lambda: 1.0, last_s=3600) == most
