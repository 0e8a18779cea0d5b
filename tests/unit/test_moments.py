"""Which events are worth a message, and to whom."""

import pytest

from specs.contacts import is_address
from specs.metadata import metadata_faults
from specs.model import Event, Phase
from specs.moments import Moment, Subscription, moment_of


def became(phase, reason="Why"):
    return Event(reason, "", from_phase="Accepted", to_phase=phase)


@pytest.mark.parametrize(
    ("event", "moment"),
    [
        (became("Running"), Moment.STARTED),
        (became("Complete"), Moment.STARTED),
        (became("Failed", "OutOfMemory"), Moment.FAILED),
        (became("Held", "WouldNotPlace"), Moment.HELD),
        (Event("ExpiresSoon", "", "Warning"), Moment.EXPIRES_SOON),
        (Event("DeletionHeld", "", "Warning"), Moment.DELETION_HELD),
        (Event("Failed", "another sentence, the phase stayed", "Warning"), None),
        (Event("SpecChanged", ""), None),
        *((became(p), None) for p in ("Accepted", "Queued", "Starting", "Degraded")),
        *((became(p), None) for p in ("Suspended", "Deleting")),
    ],
)
def test_a_moment_is_a_change_of_phase_or_a_reason_of_its_own(event, moment):
    assert moment_of(event) is moment


def test_every_moment_but_the_first_is_a_word_of_the_api():
    phases = {phase.value for phase in Phase}
    assert set(Moment) - phases == {"Started", "ExpiresSoon", "DeletionHeld"}


@pytest.mark.parametrize(
    ("subscription", "wants"),
    [
        (Subscription("d"), True),
        (Subscription("d", {Moment.HELD}), False),
        (Subscription("d", vos=frozenset({"vo.a"})), True),
        (Subscription("d", vos=frozenset({"vo.b"})), False),
    ],
)
def test_a_subscription_is_for_some_moments_of_some_vos(subscription, wants):
    assert subscription.wants(Moment.FAILED, "vo.a") is wants


@pytest.mark.parametrize(
    "address",
    ["ada@example.org", "a.b+c@mail.example.org", "o'neil@x.org", "a@localhost", "a@1.example"],
)
def test_a_plain_address_is_one(address):
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("", "ada", "@example.org", "ada@", "a b@example.org", "ada@example.org "),
        *("ada@example.org\n", "ada@example.org\r\nBcc: eve@example.org", "ada\0@example.org"),
        *("a@x.org,eve@example.org", "<ada@example.org>", '"a b"@x.org', "ada@[127.0.0.1]"),
        *("ada@exa_mple.org", "a..b@x.org", ".a@x.org", "ädä@example.org", "a@exämple.org"),
        *("a@-x.org", "a@x..org", "a" * 65 + "@x.org", "a@" + "x." * 130 + "org"),
        "-oQ/tmp@x.org@y",
    ],
)
def test_what_could_be_more_than_one_address_is_none(address):
    assert not is_address(address)


@pytest.mark.parametrize("value", ["email", "", "Mail", "mail\n", "https://eve.example"])
def test_a_way_that_nobody_is_told_by_is_refused(value):
    metadata = {"name": "a", "annotations": {"ai4papi/notify": value}}
    (fault,) = metadata_faults(metadata, "/metadata")
    assert (fault.code, fault.pointer) == ("NotAnOption", "/metadata/annotations/ai4papi~1notify")


def test_mail_may_be_asked_for_and_other_annotations_are_free():
    annotations = {"ai4papi/notify": "mail", "team/notify": "by pigeon"}
    assert not list(metadata_faults({"name": "a", "annotations": annotations}, "/metadata"))
    assert list(metadata_faults({"name": "a", "labels": {"ai4papi/notify": "x"}}, "/m")) == []
