"""Records of what runs already, on every database that the store works on."""

from dataclasses import replace
from typing import Any

import pytest

from specs.faults import AlreadyExists, InvalidSpec
from specs.model import ADOPTED, SECRET_SET, Deployment
from specs.quota import Quotas
from specs.store import SpecStore
from tests.builders import SEAL, a_deployment, a_spec
from tests.contract.stores import (
    PASSWORD,
    a_wish,
    an_applied,
    create,
    delete,
    look,
    put,
    reasons,
    running,
    the,
)

UID = "userjob-1"
SOURCE = {"type": "adopted", "job": UID}


def a_record(**changes: Any) -> Deployment:
    spec = a_spec(jupyter_password=SECRET_SET)
    applied = an_applied(f"{ADOPTED}d1", secrets_generation=1)
    record = a_deployment(spec, uid=UID, name=UID, source=SOURCE, secrets_generation=1)
    return replace(record, **{"applied": applied, **changes})


def adopt(store: SpecStore, record: Deployment | None = None, **secrets: str) -> Deployment:
    values = secrets or {PASSWORD: "a long password"}
    return store.adopt(record or a_record(), values, actor="operator")


def adopted(store: SpecStore) -> set[str]:
    return {head.uid for head in store.heads() if head.adopted}


def test_it_is_read_back_with_the_job_it_was_found_with(store):
    made = adopt(store)
    record = the(store, UID)
    assert record == made
    assert (record.adopted, record.applied.index, record.generation) == (True, 10, 1)
    assert store.secrets(UID) == {PASSWORD: "a long password"}
    assert reasons(store, UID) == ["Adopted"]
    assert [uid for _, uid, *_ in store.wishes_after(0)] == [UID]


def test_it_is_adopted_until_another_job_is_on_record(store):
    create(store)
    adopt(store)
    assert adopted(store) == {UID}
    look(store, UID, running(), applied=an_applied("d2"))
    assert adopted(store) == set()


def test_a_wish_revises_it_as_any_other(store):
    adopt(store)
    wish = a_wish(UID, title="another", password=SECRET_SET)
    changed, _ = put(store, wish)
    assert (changed.uid, changed.generation, changed.adopted) == (UID, 2, True)


def test_nothing_is_taken_over_twice_nor_under_a_name_that_is_taken(store):
    adopt(store)
    with pytest.raises(AlreadyExists):
        adopt(store)
    taken = create(store)
    with pytest.raises(AlreadyExists):
        adopt(store, a_record(uid="userjob-2", name=taken.name))


def test_a_deleted_record_keeps_its_uid(store):
    adopt(store)
    delete(store, UID)
    with pytest.raises(AlreadyExists):
        adopt(store)


def test_what_runs_is_counted_and_never_waits(store, url, clock):
    limited = SpecStore(url, seal=SEAL, now=clock, quotas=Quotas(user={"deployments": 1}))
    create(limited)
    assert not adopt(limited).over_quota
    assert the(limited, UID).reservation.counted["deployments"] == 1
    assert put(limited, a_wish("third"))[0].over_quota
    limited.close()


def test_a_password_needs_a_key(url, clock, store):
    keyless = SpecStore(url, now=clock)
    with pytest.raises(InvalidSpec):
        adopt(keyless)
    assert keyless.get(UID) is None
    keyless.close()
