import math

import pytest

from api.auth import Role, User
from api.limits import LimitRules, Limits, Rate, network_of
from api.problems import TooManyRequests
from specs.model import Owner


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def user(name="ada", *vos):
    roles = {vo: frozenset({Role.USER}) for vo in vos or ("vo.a",)}
    return User(Owner("https://op", name), name=name, roles=roles)


def admitted(limits, who, *, times, writes=True):
    count = 0
    for _ in range(times):
        try:
            limits.admit(who, writes=writes)
        except TooManyRequests:
            continue
        count += 1
    return count


@pytest.mark.parametrize("per_minute", [1, 3, 7, 60, 300, 60_000])
def test_a_whole_minutes_worth_may_come_at_once_and_no_more(clock, per_minute):
    rate = Rate(per_minute, clock)
    assert [rate.take("a") for _ in range(per_minute)] == [0] * per_minute
    assert rate.take("a") > 0
    assert rate.take("b") == 0


@pytest.mark.parametrize("per_minute", [1, 7, 60, 300])
def test_who_waits_as_long_as_was_said_is_let_in_and_not_before(clock, per_minute):
    rate = Rate(per_minute, clock)
    while not rate.take("a"):
        pass
    for _ in range(20):
        wait_s = rate.take("a")
        assert wait_s == pytest.approx(60 / per_minute)
        clock.now += wait_s * 0.99
        assert rate.take("a") > 0
        clock.now += wait_s * 0.01 + 1e-9
        assert rate.take("a") == 0


def test_a_refused_request_does_not_count(clock):
    rate = Rate(60, clock)
    for _ in range(1000):
        rate.take("a")
    clock.now += 60
    assert [rate.take("a") for _ in range(60)] == [0] * 60


def test_in_no_minute_are_there_more_than_two_minutes_worth(clock):
    rate = Rate(10, clock)
    let_in = []
    for _ in range(1000):
        clock.now += 0.37
        if not rate.take("a"):
            let_in.append(clock.now)
    assert all(sum(at <= t < at + 60 for t in let_in) <= 20 for at in let_in)
    assert len(let_in) <= 10 + 10 * 370 / 60


def test_without_a_limit_nothing_is_counted(clock):
    rate = Rate(None, clock)
    assert [rate.take("a") for _ in range(10_000)] == [0] * 10_000
    assert rate._quiet_at == {}


def test_keys_of_long_ago_are_forgotten(clock):
    rate = Rate(60, clock)
    for key in range(100_000):
        clock.now += 0.01
        rate.take(key)
    # One key is remembered for a second after one request; 100 keys come in a second.
    assert len(rate._quiet_at) <= 1025


def test_c30_a_flood_of_creates_is_told_to_wait(clock):
    limits = Limits(LimitRules(user_writes=300), clock=clock)
    assert admitted(limits, user(), times=1000) == 300
    assert admitted(limits, user("bob"), times=10) == 10
    with pytest.raises(TooManyRequests) as refused:
        limits.admit(user(), writes=True)
    assert refused.value.retry_after_s == 1
    assert "300 writes of one user" in str(refused.value)
    limits.admit(user(), writes=False)
    clock.now += 1
    limits.admit(user(), writes=True)


def test_c30_many_users_of_one_vo_leave_room_for_the_others(clock):
    limits = Limits(LimitRules(user_writes=10, vo_writes=25), clock=clock)
    let_in = [admitted(limits, user(f"u{n}", "vo.a"), times=20) for n in range(5)]
    assert let_in == [10, 10, 5, 0, 0]
    assert admitted(limits, user("bob", "vo.b"), times=20) == 10


def test_reads_have_a_limit_of_their_own(clock):
    limits = Limits(LimitRules(user_requests=5, user_writes=100), clock=clock)
    assert admitted(limits, user(), times=10, writes=False) == 5


def test_the_seconds_to_wait_are_whole_and_enough(clock):
    limits = Limits(LimitRules(address_failures=7), clock=clock)
    for _ in range(7):
        limits.fail("192.0.2.1")
    with pytest.raises(TooManyRequests) as refused:
        limits.fail("192.0.2.1")
    assert refused.value.retry_after_s == math.ceil(60 / 7)
    limits.fail("192.0.2.2")
    clock.now += refused.value.retry_after_s
    limits.fail("192.0.2.1")


def test_a_user_holds_so_many_places_and_gets_them_back(clock):
    limits = Limits(LimitRules(user_waits=2), clock=clock)
    ada, bob = user().owner, user("bob").owner
    with limits.wait(ada):
        with limits.wait(ada):
            with pytest.raises(TooManyRequests), limits.wait(ada):
                pytest.fail("there is no third place")
            with limits.wait(bob):
                pass
        with pytest.raises(ZeroDivisionError), limits.wait(ada):
            1 / 0  # noqa: B018
        with limits.wait(ada):
            pass
    assert not limits._waits


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_one_customer_of_a_provider_is_one_address(address, network):
    assert network_of(address) == network
