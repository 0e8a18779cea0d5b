from reconciler.orphans import Orphans, orphans_among
from specs.records import Head
from tests.builders import REF, UID, a_job

OURS = {"managed_by": "ai4papi", "ai4papi_store": "this-store"}


def head(uid=UID):
    return Head(
        uid=uid,
        vo="vo",
        generation=1,
        observed_generation=1,
        applied_generation=1,
        applied_index=10,
        seen_index=10,
        being_deleted=False,
        suspended=False,
        wake_at=None,
    )


class Stops:
    def __init__(self):
        self.stopped, self.purged, self.forgotten = [], [], []

    def stop_job(self, ref):
        self.stopped.append(ref)

    def purge_job(self, ref):
        self.purged.append(ref)

    def delete_variable(self, ref):
        self.forgotten.append(ref)


def test_a_job_without_a_record_is_an_orphan_and_one_with_a_record_is_not():
    assert orphans_among([a_job()], []) == [a_job()]
    assert orphans_among([a_job()], [head()]) == []


def test_a_child_of_a_periodic_job_is_no_orphan():
    """Peers' trap: child jobs treated as stale."""
    child = a_job(ref=REF._replace(id=f"{UID}/periodic-1800000000"))
    assert orphans_among([child], [head()]) == []


def test_a_stopped_job_is_no_orphan():
    assert orphans_among([a_job(stopped=True)], []) == []


def looked(policy, meta, *, may_stop=True, heads=(), trash=()):
    cluster = Stops()
    orphans = Orphans(cluster, "this-store", frozenset(trash).intersection, policy)
    orphans.look({REF: a_job(meta=meta)}, heads, may_stop=may_stop)
    assert cluster.purged == cluster.forgotten
    return cluster.stopped + cluster.purged


def test_orphans_are_only_reported_unless_the_operator_says_stop():
    assert looked("report", OURS) == []
    assert looked("stop", OURS) == [REF]


def test_the_jobs_of_another_store_are_never_stopped():
    assert looked("stop", {**OURS, "ai4papi_store": "another"}) == []
    assert looked("stop", {"managed_by": "ai4papi"}) == []


def test_nothing_is_stopped_while_the_store_is_not_trusted_or_has_the_record():
    assert looked("stop", OURS, may_stop=False) == []
    assert looked("stop", OURS, heads=[head()]) == []


def test_a_job_of_ours_whose_record_was_deleted_is_purged_whatever_the_policy():
    assert looked("report", OURS, trash=[UID]) == [REF]
    assert looked("report", {**OURS, "ai4papi_store": "another"}, trash=[UID]) == []
    assert looked("report", OURS, trash=[UID], may_stop=False) == []
