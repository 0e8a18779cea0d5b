"""What the benchmark rests on: copies that the store takes for its own, and calls that count."""

from pathlib import Path

import requests

from reconciler.cluster.simulator.http import serve
from reconciler.cluster.simulator.state import SimulatedNomad
from specs.model import Owner, Reach
from specs.quota import UserScope, VoScope
from tests.bench.clones import Clone, clone, clone_uid
from tests.bench.counting import CountingProxy
from tests.bench.site import OWNER, VO, etc_without_limits, fill, open_site

OTHER = Owner("local", "other")


def test_copies_are_records_like_any_other_and_the_store_goes_on(tmp_path: Path) -> None:
    with open_site(tmp_path, None) as runtime:
        (uid,) = fill(runtime, 1, prefix="many")
    texts = [{uid: clone_uid(n), "many-0": f"many-{n}"} for n in range(1, 4)]
    copies = [Clone(text[uid], OTHER if n == 2 else OWNER, text) for n, text in enumerate(texts)]
    clone(f"sqlite:///{tmp_path}/ai4papi.db", uid, copies)
    with open_site(tmp_path, None) as runtime:
        store = runtime.store
        found = store.find(Reach(OTHER, frozenset({VO})), vo=VO, name="many-3")
        assert (found.uid, found.spec.general.title) == (clone_uid(3), "many-3")
        used = store.used([UserScope(OWNER), UserScope(OTHER), VoScope(VO)])
        assert [amounts["deployments"] for amounts in used.values()] == [3, 1, 4]
        assert len(store.wishes_after(0)) == 4
        assert [entry.event.reason for entry in store.events(clone_uid(1))] == ["Created"]
        (later,) = fill(runtime, 1, prefix="later")
        assert {head.uid for head in store.heads()} == {uid, later, *(c.uid for c in copies)}
        assert store.changes_after(4)[1] == [later]


def test_the_shipped_limits_are_lifted(tmp_path: Path) -> None:
    with open_site(tmp_path, None, etc=etc_without_limits(tmp_path)) as runtime:
        limits = runtime.settings.limits
    assert limits.long_polls is limits.writes_per_minute is limits.requests_per_minute is None


def test_calls_are_counted_on_their_way(tmp_path: Path) -> None:
    served = serve(SimulatedNomad())
    try:
        with CountingProxy(served.address) as proxy, requests.Session() as session:
            nodes = session.get(f"{proxy.address}/v1/nodes?namespace=*", timeout=10).json()
            wrong = session.put(f"{proxy.address}/v1/job/x/plan", json={"Job": {}}, timeout=10)
            assert len(nodes) == 5
            assert wrong.status_code >= 400
            assert proxy.calls == ["GET /v1/nodes", "PUT /v1/job/x/plan"]
    finally:
        served.close()
