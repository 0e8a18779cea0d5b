from datetime import UTC, datetime, timedelta

import pytest

from reconciler.lease import WARNING, ends_soon, has_ended, wakes_at
from specs.model import lease
from tests.builders import NOW, a_deployment, a_spec

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("ttl", "lasts"),
    [("90m", timedelta(minutes=90)), ("12h", 12 * HOUR), ("7d", timedelta(days=7))],
)
def test_a_ttl_is_counted_from_the_creation(ttl, lasts):
    assert lease(ttl) == lasts
    assert a_deployment(a_spec(ttl=ttl)).expires_at == NOW + lasts


@pytest.mark.parametrize("ttl", ["", "0h", "12", "h", "1.5h", "12h ", "1w", "-1h"])
def test_what_is_no_ttl_is_refused(ttl):
    with pytest.raises(ValueError, match="no whole number"):
        lease(ttl)


@pytest.mark.parametrize(
    ("before_the_end", "soon", "ended", "wakes_in"),
    [
        (3 * HOUR, False, False, 2 * HOUR),
        (WARNING, True, False, WARNING),
        (timedelta(seconds=1), True, False, timedelta(seconds=1)),
        (timedelta(0), False, True, None),
        (-HOUR, False, True, None),
    ],
)
def test_its_owner_is_warned_before_the_end(before_the_end, soon, ended, wakes_in):
    deployment = a_deployment(a_spec(expires_at=NOW + before_the_end))
    assert ends_soon(deployment, NOW) is soon
    assert has_ended(deployment, NOW) is ended
    assert wakes_at(deployment, NOW) == (None if wakes_in is None else NOW + wakes_in)


@pytest.mark.parametrize("year", [1, 9999])
def test_no_instant_that_can_be_written_is_too_early_or_too_late(year):
    deployment = a_deployment(a_spec(expires_at=datetime(year, 12, 31, tzinfo=UTC)))
    assert has_ended(deployment, NOW) is (year == 1)
    assert not ends_soon(deployment, NOW)
    assert (wakes_at(deployment, NOW) is None) is (year == 1)


def test_without_a_lease_nothing_ends():
    assert not has_ended(a_deployment(), NOW)
    assert wakes_at(a_deployment(), NOW) is None
