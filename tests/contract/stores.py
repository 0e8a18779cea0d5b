"""Short ways to speak to a store in its contract tests."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from specs.model import (
    JOB_FINALIZER,
    SECRET_SET,
    Applied,
    Deployment,
    DeploymentStatus,
    Owner,
    Phase,
    Reach,
)
from specs.store import SpecStore
from specs.wish import Wish
from tests.builders import ALICE, ALICE_REACH, NOW, VO, a_spec

BOB = Owner("https://aai.egi.eu/auth/realms/egi", "bob@egi.eu")
BOB_REACH = Reach(BOB, ALICE_REACH.vos)
OTHER_VO = "vo.imagine-ai.eu"
PASSWORD = "general.jupyter_password"
SOURCE = {"type": "api"}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


def a_wish(name: str = "train-a", *, vo: str = VO, password: str = "", **changes: Any) -> Wish:
    labels = changes.pop("labels", {})
    shown = SECRET_SET if password else ""
    return Wish(
        vo=vo,
        name=name,
        spec=a_spec(jupyter_password=shown, **changes),
        secrets={PASSWORD: password} if password else {},
        labels=labels,
    )


def create(store: SpecStore, wish: Wish | None = None, *, owner: Owner = ALICE) -> Deployment:
    record, created = store.create(wish or a_wish(), owner=owner, owner_name="Alice", source=SOURCE)
    assert created
    return record


def put(store: SpecStore, wish: Wish, **conditions: Any) -> tuple[Deployment, bool]:
    return store.put(wish, owner=ALICE, owner_name="Alice", source=SOURCE, **conditions)


def running(generation: int = 1, **changes: Any) -> DeploymentStatus:
    return DeploymentStatus(
        observed_generation=generation, phase=Phase.RUNNING, observed_at=NOW
    ).model_copy(update=changes)


def an_applied(digest: str = "d1", index: int = 10, **changes: Any) -> Applied:
    job = {"ID": "uid-1", "TaskGroups": [{"Count": 1, "Digest": digest}]}
    return replace(Applied(1, 0, digest, index, job), **changes)


def look(store: SpecStore, uid: str, status: DeploymentStatus, **rest: Any) -> bool:
    return store.put_status(uid, status, **({"applied": None, "seen_index": 0} | rest))


def request_deletion(store: SpecStore, uid: str, **conditions: Any) -> Deployment:
    return store.request_deletion(uid, actor="Alice", source=SOURCE, **conditions)


def version(store: SpecStore) -> int:
    return store.changes_after(0)[0]


def in_threads(number: int, work: Callable[[int], object]) -> list[object]:
    """Run `work` in threads that start together; return what each gave or raised."""
    answers: list[object] = [None] * number
    start = threading.Barrier(number)

    def run(index: int) -> None:
        start.wait()
        try:
            answers[index] = work(index)
        except Exception as error:
            answers[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def delete(store: SpecStore, uid: str, **conditions: Any) -> None:
    """Delete a record as the reconciler ends it: it goes to the trash."""
    request_deletion(store, uid, **conditions)
    store.remove_finalizer(uid, JOB_FINALIZER)


def the(store: SpecStore, uid: str) -> Deployment:
    record = store.get(uid)
    assert record is not None
    return record


def reasons(store: SpecStore, uid: str) -> list[str]:
    return [entry.event.reason for entry in store.events(uid)]


def driver(url: str) -> str:
    return "sqlite" if url.startswith("sqlite") else "postgresql+psycopg"
