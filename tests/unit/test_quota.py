"""What counts, what is left, and who comes next."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.model import Owner, Pin
from specs.quota import (
    Claimant,
    Excess,
    Quotas,
    Standing,
    UserScope,
    VoScope,
    admitted,
    asks_of,
    excess_faults,
    impossible,
    standing_in_words,
    total,
)
from tests.builders import ALICE, NOW, VO, a_deployment, a_spec

BOB = Owner("https://op", "bob")


def claimant(uid="a", *, owner=ALICE, vo=VO, counted=None, **asks):
    return Claimant(uid, owner, vo, counted or {}, asks)


def asks(**spec):
    return asks_of(a_deployment(spec=a_spec(**spec)), NOW)


def test_a_wish_asks_for_its_hardware_and_for_gpus_by_model_too():
    assert asks(cpu_num=2, ram=4000, disk=9000, gpu_num=2, gpu_type="Tesla V100") == {
        "deployments": 1,
        "cpu_num": 2,
        "gpu_num": 2,
        "gpu_num:Tesla V100": 2,
        "ram": 4000,
        "disk": 9000,
    }


def test_a_model_without_gpus_asks_for_none():
    assert asks(gpu_num=0, gpu_type="Tesla V100").keys() == {
        "deployments",
        "cpu_num",
        "ram",
        "disk",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": a_spec(suspend=True)},
        {"deletion_requested_at": NOW},
        {"spec": a_spec(expires_at=NOW)},
    ],
)
def test_what_is_to_rest_asks_for_nothing(changes):
    assert asks_of(a_deployment(**changes), NOW) == {}


def test_a_lease_that_goes_on_and_a_pin_ask_for_what_runs():
    spec = a_spec(cpu_num=1, expires_at=NOW + timedelta(seconds=1))
    pinned = a_deployment(spec=spec, pin=Pin(1, a_spec(cpu_num=8), "Alice"))
    assert asks_of(pinned, NOW)["cpu_num"] == 8


USED = {UserScope(ALICE): {"gpu_num": 1}, UserScope(BOB): {}, VoScope(VO): {"gpu_num": 3}}


@pytest.mark.parametrize(
    ("quotas", "let_in"),
    [
        (Quotas(), True),
        (Quotas(user={"gpu_num": 2}), True),
        (Quotas(user={"gpu_num": 1}), False),
        (Quotas(user={"cpu_num": 0}), True),
        (Quotas(vo={VO: {"gpu_num": 4}}), True),
        (Quotas(vo={VO: {"gpu_num": 3}}), False),
        (Quotas(vo={"vo.other": {"gpu_num": 0}}), True),
        (Quotas(user={"gpu_num": 9}, vo={VO: {"gpu_num": 3}}), False),
    ],
)
def test_both_scopes_must_have_room(quotas, let_in):
    assert bool(admitted([claimant(gpu_num=1)], USED, quotas)) is let_in


def test_a_change_is_counted_with_what_it_replaces():
    change = claimant(counted={"gpu_num": 1, "ram": 8}, gpu_num=2, ram=4)
    assert change.claims == {"gpu_num": 2, "ram": 8}
    assert admitted([change], USED, Quotas(user={"gpu_num": 2, "ram": 8}))


def test_nobody_is_overtaken_where_it_would_cost_them_their_room():
    quotas = Quotas(vo={VO: {"gpu_num": 4, "cpu_num": 9}})
    large = claimant("large", gpu_num=4)
    small = claimant("small", owner=BOB, gpu_num=1)
    no_gpu = claimant("no-gpu", owner=BOB, cpu_num=1)
    assert [c.uid for c in admitted([large, small, no_gpu], USED, quotas)] == ["no-gpu"]


def test_a_wish_that_no_waiting_can_help_holds_nobody_up():
    quotas = Quotas(vo={VO: {"gpu_num": 4}})
    too_large, small = claimant("large", gpu_num=5), claimant("small", owner=BOB, gpu_num=1)
    assert [c.uid for c in admitted([too_large, small], USED, quotas)] == ["small"]
    assert impossible(too_large, quotas) == [Excess(VoScope(VO), "gpu_num", 0, 5, 4)]


amounts = st.dictionaries(st.sampled_from(["deployments", "gpu_num", "ram"]), st.integers(0, 5))
lines = st.lists(
    st.builds(
        Claimant,
        st.uuids().map(str),
        st.sampled_from([ALICE, BOB]),
        st.sampled_from([VO, "vo.b"]),
        st.just({}),
        amounts,
    ),
    max_size=12,
)


@given(line=lines, user=amounts, vo=amounts)
def test_p6_what_is_let_in_never_exceeds_a_limit(line, user, vo):
    quotas = Quotas(user=user, vo={VO: vo})
    chosen = admitted(line, {}, quotas)
    for scope in {s for one in line for s in one.scopes}:
        used = total(one.claims for one in chosen if scope in one.scopes)
        assert all(used.get(item, 0) <= limit for item, limit in quotas.limits(scope).items())


@given(line=lines, user=amounts, vo=amounts)
def test_who_is_last_in_line_changes_nothing_for_those_before(line, user, vo):
    quotas = Quotas(user=user, vo={VO: vo})
    assert list(admitted(line[:-1], {}, quotas)) == [
        one for one in admitted(line, {}, quotas) if one in line[:-1]
    ]


def test_a_refusal_points_at_what_to_lower():
    (fault, model) = excess_faults(
        [
            Excess(UserScope(ALICE), "gpu_num", 2, 1, 2),
            Excess(VoScope(VO), "gpu_num:NVIDIA A100", 3, 2, 4),
        ]
    )
    assert fault.pointer == "/spec/hardware/gpu_num"
    assert fault.message == "you use 2 of 2 GPUs, and this asks for 1 more"
    assert fault.allowed == "at most 0 more"
    assert model.pointer == "/spec/hardware/gpu_type"
    assert "vo.ai4eosc.eu uses 3 of 4 GPUs of model NVIDIA A100" in model.message


def test_who_waits_is_told_why_and_where():
    excess = Excess(VoScope(VO), "ram", 9000, 8000, 16000)
    assert standing_in_words(Standing(3, [excess])) == (
        "over quota: vo.ai4eosc.eu uses 9000 of 16000 MB RAM, and this asks for 8000 more;"
        " position 3 in line"
    )
    assert "those before it in line come first" in standing_in_words(Standing(2, []))


def test_a_record_keeps_its_place():
    assert not a_deployment().over_quota
    reservation = replace(a_deployment().reservation, queued_at=7)
    assert a_deployment(reservation=reservation).over_quota
