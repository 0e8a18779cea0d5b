"""Quotas, where they are enforced: in the transaction that writes the wish."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from specs.admission import LINE_WITH
from specs.faults import QuotaExceeded, SpecError
from specs.model import JOB_FINALIZER, Deployment, Owner
from specs.quota import Quotas, UserScope, VoScope, total
from specs.store import SpecStore
from tests.builders import ALICE, ALICE_REACH, SEAL, VO
from tests.contract.stores import BOB, OTHER_VO, SOURCE, Clock, a_wish, request_deletion

GPU = Quotas(vo={VO: {"gpu_num": 2}})
RACES = int(os.environ.get("AI4PAPI_RACES", "3"))
"""How often fifty people ask for one GPU at once."""


@pytest.fixture
def limited(store: SpecStore, url: str, clock: Clock) -> Iterator[Callable[[Quotas], SpecStore]]:
    """Opens the store with limits."""
    opened: list[SpecStore] = []

    def limited(quotas: Quotas) -> SpecStore:
        opened.append(SpecStore(url, seal=SEAL, now=clock, quotas=quotas))
        return opened[-1]

    yield limited
    for one in opened:
        one.close()


def put(
    store: SpecStore, name: str, *, owner: Owner = ALICE, vo: str = VO, **spec: Any
) -> Deployment:
    wish = a_wish(name, vo=vo, **spec)
    return store.put(wish, owner=owner, owner_name=owner.sub, source=SOURCE)[0]


def again(store: SpecStore, record: Deployment) -> Deployment:
    found = store.get(record.uid)
    assert found is not None
    return found


def end(store: SpecStore, record: Deployment) -> None:
    request_deletion(store, record.uid)
    store.remove_finalizer(record.uid, JOB_FINALIZER)


def used(store: SpecStore, scope: UserScope | VoScope) -> dict[str, int]:
    return dict(store.used([scope])[scope])


def wished(store: SpecStore, after: int) -> list[str]:
    return [wish.uid for wish in store.wishes_after(after)]


def test_what_is_used_is_counted_for_the_user_and_the_vo(limited):
    store = limited(Quotas())
    put(store, "a", gpu_num=1, ram=1000)
    put(store, "b", vo=OTHER_VO, gpu_num=2, ram=1000)
    put(store, "a", owner=BOB, gpu_num=4, ram=1000)
    assert used(store, UserScope(ALICE))["gpu_num"] == 3
    assert used(store, UserScope(BOB))["gpu_num"] == 4
    assert used(store, VoScope(VO)) | {"disk": 0} == {
        "deployments": 2, "cpu_num": 4, "gpu_num": 5, "ram": 2000, "disk": 0,
    }  # fmt: skip


def test_c29_what_is_deleted_counts_until_it_is_gone_and_then_lets_in_the_next(limited):
    store = limited(GPU)
    first, second = put(store, "a", gpu_num=2), put(store, "b", owner=BOB, gpu_num=2)
    assert not first.over_quota
    assert second.over_quota
    assert store.standing(second.uid).position == 1
    request_deletion(store, first.uid)
    assert again(store, second).over_quota
    position = store.newest_version()
    store.remove_finalizer(first.uid, JOB_FINALIZER)
    assert not again(store, second).over_quota
    assert wished(store, position) == [second.uid]
    assert store.standing(second.uid) is None
    assert used(store, VoScope(VO))["gpu_num"] == 2
    assert store.events(second.uid)[-1].event.reason == "QuotaReserved"


def test_what_is_suspended_counts_until_the_reconciler_says_that_nothing_runs(limited):
    store = limited(GPU)
    first, second = put(store, "a", gpu_num=2), put(store, "b", owner=BOB, gpu_num=2)
    resting = put(store, "a", gpu_num=2, suspend=True)
    assert again(store, second).over_quota
    store.release(first.uid, generation=first.generation)
    assert again(store, second).over_quota
    store.release(first.uid, generation=resting.generation)
    assert not again(store, second).over_quota
    assert put(store, "a", gpu_num=2, suspend=False).over_quota
    assert used(store, UserScope(ALICE)) == {}


def test_a_resume_before_the_stop_is_confirmed_needs_no_new_room(limited):
    store = limited(GPU)
    put(store, "a", gpu_num=2)
    put(store, "b", owner=BOB, gpu_num=1)
    put(store, "a", gpu_num=2, suspend=True)
    assert not put(store, "a", gpu_num=2, suspend=False).over_quota


def test_a_change_counts_with_what_it_replaces_until_it_is_made(limited):
    store = limited(GPU)
    put(store, "a", gpu_num=2)
    smaller = put(store, "a", gpu_num=1)
    assert not smaller.over_quota
    assert put(store, "b", owner=BOB, gpu_num=1).over_quota
    store.release(smaller.uid, generation=smaller.generation)
    assert used(store, VoScope(VO))["gpu_num"] == 2
    assert used(store, UserScope(BOB))["gpu_num"] == 1


def test_a_change_that_does_not_fit_waits_and_what_ran_stays_counted(limited):
    store = limited(GPU)
    put(store, "a", gpu_num=1)
    put(store, "b", owner=BOB, gpu_num=1)
    larger = put(store, "a", gpu_num=2)
    assert larger.over_quota
    assert larger.reservation.counted["gpu_num"] == 1
    store.release(larger.uid, generation=larger.generation)
    assert used(store, VoScope(VO))["gpu_num"] == 2
    back = put(store, "a", gpu_num=1)
    assert not back.over_quota


def test_titles_labels_and_restarts_need_no_room(limited):
    store = limited(GPU)
    record = put(store, "a", gpu_num=2)
    tight = limited(Quotas(vo={VO: {"gpu_num": 0}}))
    assert not put(tight, "a", gpu_num=2, title="other").over_quota
    assert not put(tight, "a", gpu_num=2, title="other", restart=1).over_quota
    assert again(tight, record).reservation.counted["gpu_num"] == 2


@pytest.mark.parametrize("over", ["queue", "refuse"])
def test_c25_what_no_waiting_can_help_is_refused(limited, over):
    store = limited(Quotas(user={"ram": 8000}, over=over))
    with pytest.raises(QuotaExceeded) as refused:
        put(store, "a", ram=8001)
    (fault,) = refused.value.faults
    assert fault.pointer == "/spec/hardware/ram"
    assert store.page(ALICE_REACH).items == []
    assert used(store, UserScope(ALICE)) == {}


def test_a_site_without_a_line_refuses_and_writes_nothing(limited):
    store = limited(Quotas(vo={VO: {"gpu_num": 2}}, over="refuse"))
    first = put(store, "a", gpu_num=2)
    with pytest.raises(QuotaExceeded, match="uses 2 of 2 GPUs"):
        put(store, "b", owner=BOB, gpu_num=1)
    with pytest.raises(QuotaExceeded, match="asks for 3 GPUs, and"):
        put(store, "a", gpu_num=3)
    assert again(store, first) == first
    end(store, first)
    assert not put(store, "b", owner=BOB, gpu_num=1).over_quota


def test_undeleting_takes_its_place_in_line(limited):
    store = limited(GPU)
    end(store, put(store, "a", gpu_num=2))
    put(store, "b", owner=BOB, gpu_num=1)
    back = store.undelete(ALICE_REACH, vo=VO, name="a", actor="Alice", source=SOURCE)
    assert back.over_quota
    assert back.reservation.counted == {}


def test_a_rollback_to_more_waits_and_one_by_the_reconciler_is_not_made(limited):
    store = limited(GPU)
    first = put(store, "a", gpu_num=2)
    second = put(store, "a", gpu_num=1)
    store.release(second.uid, generation=second.generation)
    put(store, "b", owner=BOB, gpu_num=1)
    back = store.rollback(first.uid, 1, actor="Alice", source=SOURCE)
    assert back.over_quota
    refusing = limited(Quotas(vo={VO: {"gpu_num": 2}}, over="refuse"))
    third = put(refusing, "a", gpu_num=1, title="third")
    assert not refusing.pin_last_good(
        third.uid, failed_generation=third.generation, good_generation=1, message=""
    )


def test_leaving_the_line_lets_in_who_stood_behind(limited):
    store = limited(GPU)
    put(store, "a", gpu_num=1)
    large, small = put(store, "b", gpu_num=2), put(store, "c", owner=BOB, gpu_num=1)
    assert again(store, small).over_quota
    put(store, "b", gpu_num=2, suspend=True)
    assert not again(store, small).over_quota
    assert not again(store, large).over_quota


def test_leaving_the_line_by_a_rollback_lets_in_who_stood_behind(limited):
    store = limited(GPU)
    put(store, "a", gpu_num=1)
    large = put(store, "b", gpu_num=0)
    assert put(store, "b", gpu_num=2).over_quota
    small = put(store, "c", owner=BOB, gpu_num=1)
    assert small.over_quota
    assert not store.rollback(large.uid, 1, actor="Alice", source=SOURCE).over_quota
    assert not again(store, small).over_quota


def test_a_raised_limit_lets_in_when_it_is_asked_for(limited):
    store = limited(GPU)
    put(store, "a", gpu_num=2)
    waiting = put(store, "b", gpu_num=1)
    assert store.let_in() == 0
    raised = limited(Quotas(vo={VO: {"gpu_num": 3}}))
    assert raised.let_in() == 1
    assert not again(raised, waiting).over_quota
    assert raised.let_in() == 0


def test_deletions_by_a_source_and_by_name_leave_the_line(limited):
    store = limited(GPU)
    put(store, "a", gpu_num=1)
    large, small = put(store, "b", gpu_num=2), put(store, "c", owner=BOB, gpu_num=1)
    request_deletion(store, large.uid)
    assert not again(store, small).over_quota


@pytest.mark.parametrize("over", ["queue", "refuse"])
def test_p6_c28_of_fifty_who_ask_for_one_gpu_at_once_one_gets_it(store, url, over):
    vos = [f"vo.race-{n}" for n in range(RACES)]
    quotas = Quotas(vo={vo: {"gpu_num": 1} for vo in vos}, over=over)
    doors = [SpecStore(url, seal=SEAL, quotas=quotas) for _ in range(2)]

    def ask(vo: str, n: int) -> str:
        try:
            owner = Owner("https://op", f"user-{n}")
            record = put(doors[n % 2], f"n{n}", owner=owner, vo=vo, gpu_num=1)
        except QuotaExceeded:
            return "refused"
        return "queued" if record.over_quota else "let in"

    with ThreadPoolExecutor(50) as people:
        for vo in vos:
            answers = Counter(people.map(lambda n, vo=vo: ask(vo, n), range(50)))
            assert answers == {"let in": 1, "queued" if over == "queue" else "refused": 49}
            assert used(store, VoScope(vo))["gpu_num"] == 1
    for door in doors:
        door.close()


steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "suspend", "delete", "gone", "settle", "undelete"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([ALICE, BOB]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
def test_p6_what_is_counted_is_the_sum_and_within_the_limits(limited, steps):
    """Whatever is done: no limit is exceeded, and the sums are those of the records."""
    quotas = Quotas(user={"gpu_num": 3}, vo={VO: {"gpu_num": 4}})
    store = limited(quotas)
    for what, name, owner, gpus in steps:
        take(store, what, name, owner, gpus)
        records = [store.get(head.uid) for head in store.heads()]
        for scope in (UserScope(ALICE), UserScope(BOB), VoScope(VO)):
            counted = total(r.reservation.counted for r in records if r and in_scope(r, scope))
            assert used(store, scope) == counted
            limits = quotas.limits(scope)
            assert all(counted.get(item, 0) <= limit for item, limit in limits.items())
    for head in store.heads():
        request_deletion(store, head.uid)
        store.remove_finalizer(head.uid, JOB_FINALIZER)
    assert used(store, VoScope(VO)) == {}


def take(store: SpecStore, what: str, name: str, owner: Owner, gpus: int) -> None:
    reach = ALICE_REACH._replace(owner=owner)
    try:
        if what in {"put", "suspend"}:
            put(store, name, owner=owner, gpu_num=gpus, suspend=what == "suspend")
            return
        if what == "undelete":
            store.undelete(reach, vo=VO, name=name, actor="x", source=SOURCE)
            return
        record = store.find(reach, vo=VO, name=name)
        if what == "settle":
            store.release(record.uid, generation=record.generation)
        elif what == "delete":
            request_deletion(store, record.uid)
        else:
            store.remove_finalizer(record.uid, JOB_FINALIZER)
    except SpecError:
        return


def in_scope(record: Deployment, scope: UserScope | VoScope) -> bool:
    if isinstance(scope, UserScope):
        return record.owner == scope.owner
    return record.vo == scope.vo


def test_a_write_looks_only_at_those_who_wait(tmp_path) -> None:
    """However many deployments a VO has: SQLite, which keeps no figures, takes the right index."""
    url = f"sqlite:///{tmp_path}/specs.db"
    store = SpecStore(url)
    store.migrate()
    engine = create_engine(url)
    given = {"vo": VO, "iss": ALICE.iss, "sub": ALICE.sub}
    query = LINE_WITH.params(given).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        steps = connection.execute(text(f"EXPLAIN QUERY PLAN {query}".replace(":", r"\:"))).all()
    engine.dispose()
    store.close()
    assert any("USING INDEX deployments_queued" in step.detail for step in steps), steps
