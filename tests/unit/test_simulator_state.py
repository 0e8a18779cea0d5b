import pytest

from reconciler.cluster.simulator.refusal import Refusal
from tests.simulated import BEGAN_AT_NS, KEY, SECOND, Pretend, a_job, a_node

RESTARTING = [
    ({"Meta": {"a": "b"}}, {}),
    ({}, {"Meta": {"a": "b"}}),
    ({}, {"EphemeralDisk": {"SizeMB": 500}}),
    ({}, {"Networks": [{"DynamicPorts": [{"Label": "a"}]}]}),
    ({}, {"Tasks": [{"Name": "t", "Driver": "docker", "LogConfig": {"Disabled": True}}]}),
]
STAYING = [
    ({"Priority": 60}, {}),
    ({"UI": {"Description": "a title"}}, {}),
    ({"Datacenters": ["dc1"]}, {}),
    ({}, {"RestartPolicy": {"Attempts": 5}}),
    ({}, {"Services": [{"Name": "x", "Provider": "nomad"}]}),
    ({}, {"Tasks": [{"Name": "t", "Driver": "docker", "LogConfig": {"MaxFiles": 3}}]}),
    ({}, {"Tasks": [{"Name": "t", "Driver": "docker", "KillTimeout": 7 * SECOND}]}),
]


@pytest.fixture
def pretend():
    return Pretend()


# Registering and planning


@pytest.mark.parametrize(
    ("if_index", "words"),
    [
        (0, "Enforcing job modify index 0: job already exists"),
        (5, "job exists with conflicting job modify index: "),
    ],
)
def test_a_wrong_index_is_refused_and_nothing_is_written(pretend, if_index, words):
    pretend.register(a_job(), if_index=0)
    before = pretend.job()
    with pytest.raises(Refusal, match=words):
        pretend.register(a_job(Priority=60), if_index=if_index)
    assert pretend.job() is before


@pytest.mark.parametrize(("top", "group"), RESTARTING + STAYING)
def test_a_change_of_the_spec_makes_a_version_and_restarts_only_what_it_must(pretend, top, group):
    old = pretend.running(a_job())
    changed = a_job(group=group, **top)
    counts = pretend.nomad.plan("job", changed)["Annotations"]["DesiredTGUpdates"]["g"]
    new = pretend.running(changed)
    restarts = (top, group) in RESTARTING
    assert (counts["DestructiveUpdate"], counts["InPlaceUpdate"]) == (restarts, not restarts)
    assert (new["ID"] != old["ID"]) is restarts
    assert (new["Job"]["Version"], pretend.job()["Version"]) == (1, 1)


def test_an_unchanged_job_keeps_its_version_and_still_makes_an_evaluation(pretend):
    index = pretend.register(a_job())["JobModifyIndex"]
    pretend.move(30)
    before = len(pretend.evaluations())
    answer = pretend.register(a_job())
    assert (pretend.job()["Version"], pretend.job()["JobModifyIndex"]) == (0, index)
    assert answer["JobModifyIndex"] == pretend.job()["ModifyIndex"] != answer["Index"]
    assert len(pretend.evaluations()) == before + 1


def test_a_plan_writes_nothing(pretend):
    pretend.running(a_job())
    with pretend.nomad.reading() as world:
        before = (world.index, dict(world.allocs), dict(world.evals), dict(world.rollouts))
    pretend.nomad.plan("job", a_job(memory_mb=400))
    pretend.nomad.plan("new", a_job("new"))
    with pretend.nomad.reading() as world:
        assert (world.index, world.allocs, world.evals, world.rollouts) == before


def test_six_versions_are_kept(pretend):
    for priority in range(50, 60):
        pretend.register(a_job(Priority=priority))
    with pretend.nomad.reading() as world:
        assert [job["Version"] for job in world.versions[KEY]] == [9, 8, 7, 6, 5, 4]


def test_a_reverted_job_is_a_new_version_of_the_old_text(pretend):
    pretend.register(a_job(Priority=60))
    pretend.register(a_job(Priority=70))
    pretend.nomad.revert(KEY, 0)
    assert (pretend.job()["Version"], pretend.job()["Priority"]) == (2, 60)
    with pytest.raises(Refusal, match="can't revert to current version"):
        pretend.nomad.revert(KEY, 2)


def test_a_job_type_can_not_change(pretend):
    pretend.register(a_job())
    with pytest.raises(Refusal, match='cannot update job from type "service" to "batch"'):
        pretend.register(a_job(Type="batch"))


def test_a_namespace_that_does_not_exist_is_refused(pretend):
    with pytest.raises(Refusal, match='job "job" is in nonexistent namespace "nope"'):
        pretend.register(a_job(Namespace="nope"))


# Waiting for room


def test_what_does_not_fit_is_blocked_and_placed_when_there_is_room(pretend):
    pretend.running(a_job("first", memory_mb=6000))
    pretend.register(a_job(memory_mb=6000))
    (blocked,) = pretend.blocked()
    assert blocked["FailedTGAllocs"]["g"]["DimensionExhausted"] == {"memory": 1}
    (created, _) = pretend.evaluations()
    assert (created["Status"], created["BlockedEval"]) == ("complete", blocked["ID"])
    pretend.nomad.deregister(("default", "first"))
    pretend.move(30)
    assert [item["ClientStatus"] for item in pretend.live()] == ["running"]
    assert pretend.blocked() == []


def test_old_work_that_stays_is_no_room_for_its_neighbour(pretend):
    at_once = {"Update": {"MaxParallel": 0}}
    pretend.register(a_job(count=2, memory_mb=3500, group=at_once))
    pretend.move(30)
    pretend.register(a_job(count=2, memory_mb=5000, group=at_once))
    pretend.move(30)
    assert [item["Job"]["Version"] for item in pretend.live()] == [0, 0]


def test_a_node_that_appears_takes_what_waited(pretend):
    pretend.register(a_job(gpus=1))
    assert pretend.live() == []
    pretend.nomad.machines.put_node(a_node("new", gpus={"Tesla K80": 1}))
    assert [item["NodeName"] for item in pretend.live()] == ["new"]


def test_an_update_that_does_not_fit_leaves_the_old_work_and_nothing_comes_back(pretend):
    old = pretend.running(a_job())
    pretend.register(a_job(memory_mb=10**6))
    pretend.move(30)
    assert [item["ID"] for item in pretend.live()] == [old["ID"]]
    pretend.nomad.machines.stop_allocation(old["ID"])
    pretend.move(3600)
    assert pretend.live() == []
    assert len(pretend.blocked()) == 1


def test_of_two_that_wait_the_higher_priority_goes_first(pretend):
    pretend.running(a_job("first", memory_mb=6000))
    pretend.register(a_job("low", memory_mb=6000))
    pretend.register(a_job("high", memory_mb=6000, Priority=80))
    pretend.nomad.deregister(("default", "first"), purge=True)
    assert (len(pretend.live("high")), len(pretend.live("low"))) == (1, 0)


# Time


def test_an_allocation_starts_proves_healthy_and_ends_the_rollout(pretend):
    pretend.register(a_job())
    (pending,) = pretend.live()
    assert (pending["ClientStatus"], pretend.job()["Status"]) == ("pending", "running")
    pretend.move(1)
    (running,) = pretend.live()
    assert (running["ClientStatus"], running.get("DeploymentStatus")) == ("running", None)
    pretend.move(10)
    assert pretend.live()[0]["DeploymentStatus"]["Healthy"] is True
    assert [rollout["Status"] for rollout in pretend.rollouts()] == ["successful"]
    assert pretend.job()["Stable"] is True


def test_a_clock_that_jumps_tells_the_same_history_as_one_that_ticks():
    def history(steps, seconds):
        pretend = Pretend()
        pretend.register(a_job())
        for _ in range(steps):
            pretend.move(seconds)
        with pretend.nomad.reading() as world:
            return world.index, dict(world.allocs), dict(world.evals), dict(world.jobs)

    assert history(1, 60) == history(600, 0.1)


def test_the_next_thing_to_come_is_known(pretend):
    assert pretend.nomad.next_due_ns() is None
    pretend.register(a_job())
    assert BEGAN_AT_NS < pretend.nomad.next_due_ns() < BEGAN_AT_NS + SECOND


def test_a_rollout_goes_on_one_by_one(pretend):
    pretend.register(a_job(count=3))
    pretend.move(60)
    pretend.register(a_job(count=3, Meta={"a": "b"}))
    pretend.move(1)
    pretend.nomad.evaluate(KEY)
    versions = sorted(item["Job"]["Version"] for item in pretend.live())
    assert versions == [0, 0, 1]
    pretend.move(60)
    assert [item["Job"]["Version"] for item in pretend.live()] == [1, 1, 1]
    assert [rollout["Status"] for rollout in pretend.rollouts()] == ["successful"] * 2


def test_a_rollout_without_progress_fails(pretend):
    task = {"Driver": "mock_driver", "Config": {"run_for": "1s", "exit_code": 1}}
    pretend.register(a_job(task=task, group={"Update": {"ProgressDeadline": 60 * SECOND}}))
    pretend.move(120)
    (rollout,) = pretend.rollouts()
    assert (rollout["Status"], rollout["StatusDescription"]) == (
        "failed",
        "Failed due to progress deadline",
    )


def test_a_task_that_ends_is_restarted_and_then_its_allocation_is_rescheduled(pretend):
    task = {"Driver": "mock_driver", "Config": {"run_for": "1s", "exit_code": 3}}
    pretend.register(a_job(task=task))
    pretend.move(5)
    (only,) = pretend.live()
    assert only["TaskStates"]["t"]["Restarts"] == 1
    pretend.move(45)
    assert [item["ClientStatus"] for item in pretend.allocations()] == ["failed"]
    assert pretend.job()["Status"] == "running"  # Its rollout is.
    pretend.move(30)
    first, second = pretend.allocations()
    assert (first["NextAllocation"], second["PreviousAllocation"]) == (second["ID"], first["ID"])
    assert second["RescheduleTracker"]["Events"][0]["PrevAllocID"] == first["ID"]


def test_a_batch_job_that_ends_well_is_done(pretend):
    task = {"Driver": "mock_driver", "Config": {"run_for": "1s"}}
    pretend.register(a_job(Type="batch", task=task))
    pretend.move(60)
    assert [item["ClientStatus"] for item in pretend.allocations()] == ["complete"]
    assert pretend.job()["Status"] == "dead"


# Stopping


def test_a_stopped_job_is_dead_and_a_register_starts_it_again(pretend):
    pretend.running(a_job())
    pretend.nomad.deregister(KEY)
    pretend.move(1)
    assert (pretend.job()["Status"], pretend.job()["Stop"], pretend.live()) == ("dead", True, [])
    pretend.running(a_job())
    assert (pretend.job()["Version"], pretend.job()["Stop"]) == (2, False)


def test_a_purged_job_leaves_no_version_allocation_or_rollout(pretend):
    pretend.running(a_job())
    pretend.nomad.deregister(KEY, purge=True)
    with pretend.nomad.reading() as world:
        left = (world.jobs, world.versions, world.allocs, world.rollouts, world.claims)
        assert left == ({}, {}, {}, {}, {})
    assert pretend.nomad.deregister(KEY, purge=True)["JobModifyIndex"] == 0


def test_a_scale_waits_for_the_rollout(pretend):
    pretend.register(a_job())
    with pytest.raises(Refusal, match="job scaling blocked due to active deployment"):
        pretend.nomad.scale(KEY, "g", 2)
    pretend.move(30)
    pretend.nomad.scale(KEY, "g", 2)
    pretend.move(30)
    assert (len(pretend.live()), pretend.job()["Version"]) == (2, 1)


# Breaking things


def test_a_drained_node_is_left_and_stays_ineligible():
    pretend = Pretend([a_node("one"), a_node("two")])
    old = pretend.running(a_job())
    pretend.nomad.machines.drain_node(old["NodeID"])
    pretend.move(30)
    (new,) = pretend.live()
    assert new["NodeID"] != old["NodeID"]
    with pretend.nomad.reading() as world:
        node = world.nodes[old["NodeID"]]
    assert (node["Drain"], node["SchedulingEligibility"]) == (False, "ineligible")


def test_work_on_a_lost_node_is_lost_and_placed_elsewhere():
    pretend = Pretend([a_node("one"), a_node("two")])
    old = pretend.running(a_job())
    pretend.nomad.machines.lose_node(old["NodeID"])
    pretend.move(30)
    lost = next(item for item in pretend.allocations() if item["ID"] == old["ID"])
    (new,) = pretend.live()
    assert (lost["ClientStatus"], lost["DesiredStatus"]) == ("lost", "stop")
    assert new["NodeID"] != old["NodeID"]


def test_a_node_that_returns_takes_what_waited(pretend):
    old = pretend.running(a_job())
    pretend.nomad.machines.lose_node(old["NodeID"])
    assert pretend.live() == []
    pretend.nomad.machines.return_node(old["NodeID"])
    assert len(pretend.live()) == 1


def test_a_failed_allocation_is_placed_anew_after_its_delay(pretend):
    old = pretend.running(a_job())
    pretend.nomad.machines.fail_allocation(old["ID"])
    assert pretend.live() == []
    pretend.move(31)
    assert [item["PreviousAllocation"] for item in pretend.live()] == [old["ID"]]


def test_the_index_may_go_backwards_and_takes_the_events_along(pretend):
    pretend.running(a_job())
    pretend.nomad.go_to_index(2)
    assert pretend.nomad.messages_after(0, timeout_s=0) == []
    assert pretend.register(a_job(Priority=60))["Index"] == 3


# Events


def events_of(pretend):
    return [
        (message.at_index, event["Topic"], event["Type"])
        for message in pretend.nomad.messages_after(0, timeout_s=0)
        for event in message.events
    ]


def test_events_come_in_nomads_order(pretend):
    pretend.register(a_job())
    start = pretend.job()["CreateIndex"]
    assert [event for event in events_of(pretend) if event[0] >= start] == [
        (start, "Job", "JobRegistered"),
        (start, "Evaluation", "JobRegistered"),
        (start + 1, "Evaluation", "PlanResult"),
        (start + 1, "Deployment", "PlanResult"),
        (start + 1, "Allocation", "PlanResult"),
        (start + 1, "Job", "PlanResult"),
        (start + 2, "Evaluation", "EvaluationUpdated"),
    ]


def test_the_ring_keeps_a_hundred_messages_and_a_stream_starts_at_the_closest(pretend):
    for number in range(60):
        pretend.register(a_job(Priority=1 + number))
    messages = pretend.nomad.messages_after(0, timeout_s=0)
    oldest, newest = messages[0], messages[-1]
    assert len(messages) == 100
    assert pretend.nomad.position_at(1) == oldest.position - 1
    assert pretend.nomad.position_at(0) == oldest.position - 1
    assert pretend.nomad.position_at(newest.at_index + 10**6) == newest.position - 1


# Variables


def test_a_variable_is_written_at_the_index_that_was_read(pretend):
    variables = pretend.nomad.variables
    first = variables.put("default", "nomad/jobs/job", {"a": "1"}, if_index=0)
    with pytest.raises(Refusal, match="409"):
        variables.put("default", "nomad/jobs/job", {"a": "2"}, if_index=0)
    second = variables.put("default", "nomad/jobs/job", {"a": "2"}, if_index=first["ModifyIndex"])
    assert second["CreateIndex"] == first["CreateIndex"] < second["ModifyIndex"]


@pytest.mark.parametrize(
    ("path", "items", "words"),
    [
        ("nomad/jobs/x", {}, "missing required Items"),
        ("nomad/jobs/x", {"a": 1}, "cannot unmarshal number"),
        ("nomad/jobs/a b", {"a": "1"}, "invalid path"),
        ("nomad/other", {"a": "1"}, 'only paths at "nomad/jobs"'),
        ("nomad/jobs/x", {"a": "x" * 70_000}, "limited to 64KiB"),
    ],
)
def test_a_bad_variable_is_refused_with_400(pretend, path, items, words):
    with pytest.raises(Refusal, match="400") as refused:
        pretend.nomad.variables.put("default", path, items)
    assert words in refused.value.text


def test_a_task_waits_for_its_variable_and_restarts_with_it(pretend):
    template = {"EmbeddedTmpl": '{{ with nomadVar "x" }}{{ end }}', "DestPath": "secrets/x"}
    pretend.register(a_job(task={"Templates": [template]}))
    pretend.move(30)
    (waiting,) = pretend.live()
    assert waiting["ClientStatus"] == "pending"
    events = waiting["TaskStates"]["t"]["Events"]
    assert events[-1]["DisplayMessage"] == "Missing: nomad.var.block(nomad/jobs/job@default.global)"
    pretend.nomad.variables.put("default", "nomad/jobs/job", {"a": "1"})
    pretend.move(2)
    assert pretend.live()[0]["ClientStatus"] == "running"
    pretend.nomad.variables.put("default", "nomad/jobs/job", {"a": "2"})
    pretend.move(2)
    (again,) = pretend.live()
    assert (again["ClientStatus"], again["TaskStates"]["t"]["Restarts"]) == ("running", 1)
