"""Nomad's JSON, cut down to what is read, and the values it stands for."""

import pytest

from reconciler.cluster import decode
from reconciler.jobs import (
    Allocation,
    Changes,
    Evaluation,
    Job,
    JobGone,
    JobRef,
    Node,
    PlacementFailure,
    Rollout,
    TaskEvent,
)

REF = JobRef("ns", "j1")
JOB = {
    "Namespace": "ns",
    "ID": "j1",
    "JobModifyIndex": 7,
    "ModifyIndex": 9,
    "Stop": False,
    "Status": "running",
    "Version": 2,
    "Meta": {"managed_by": "ai4papi"},
}
ALLOCATION = {
    "ID": "a1",
    "Namespace": "ns",
    "JobID": "j1",
    "JobVersion": 2,
    "CreateIndex": 8,
    "ModifyIndex": 9,
    "ClientStatus": "running",
    "DesiredStatus": "run",
    "NodeID": "n1",
    "NodeName": "node-1",
}
EVALUATION = {
    "ID": "e1",
    "Namespace": "ns",
    "JobID": "j1",
    "Status": "complete",
    "TriggeredBy": "job-register",
    "CreateIndex": 7,
    "ModifyIndex": 10,
}
METRICS = {
    "NodesEvaluated": 3,
    "NodesFiltered": 1,
    "NodesExhausted": 2,
    "ConstraintFiltered": {"missing devices": 1},
    "DimensionExhausted": {"memory": 2},
    "QuotaExhausted": None,
}
FAILURE = PlacementFailure(
    group="g",
    nodes_evaluated=3,
    nodes_filtered=1,
    nodes_exhausted=2,
    constraint_filtered={"missing devices": 1},
    dimension_exhausted={"memory": 2},
)
NODE = {
    "ID": "n1",
    "Name": "node-1",
    "Status": "ready",
    "SchedulingEligibility": "eligible",
    "ModifyIndex": 4,
}


def plan(diff_type="Edited", index=7, failed=None, **group):
    return {
        "Diff": {"Type": diff_type},
        "Annotations": {"DesiredTGUpdates": {"g": group}},
        "JobModifyIndex": index,
        "FailedTGAllocs": failed,
    }


def line(topic, payload, *, kind="", index=12):
    event = {"Topic": topic, "Type": kind, "Index": index, "Payload": payload}
    return {"Index": index, "Events": [event]}


def test_a_job_is_read_with_its_version_and_a_stub_without():
    assert decode.job(JOB) == Job(REF, 7, 9, False, "running", 2, {"managed_by": "ai4papi"})
    stub = {key: value for key, value in JOB.items() if key != "Version"}
    assert decode.job_stub(stub).version is None


def test_a_job_without_meta_is_nobodys():
    assert not decode.job({**JOB, "Meta": None}).managed


def test_an_allocation_of_the_stream_has_no_job_version():
    event = {key: value for key, value in ALLOCATION.items() if key != "JobVersion"}
    assert decode.allocation(event).job_version is None
    assert decode.allocation({**event, "Job": {"Version": 3}}).job_version == 3
    assert decode.allocation({**ALLOCATION, "JobVersion": 0}).job_version == 0


def test_ports_and_health_are_read_where_they_are():
    assert decode.allocation(ALLOCATION).ports == {}
    assert decode.allocation(ALLOCATION).healthy is None
    placed = decode.allocation(
        {
            **ALLOCATION,
            "DeploymentStatus": {"Healthy": False},
            "AllocatedResources": {
                "Shared": {"Ports": [{"Label": "deepaas", "HostIP": "10.0.0.1", "Value": 23000}]}
            },
        }
    )
    assert placed.ports == {"deepaas": ("10.0.0.1", 23000)}
    assert placed.healthy is False


def test_the_devices_of_all_tasks_are_counted():
    assert decode.allocation(ALLOCATION).devices == {}
    gpu = {"Vendor": "nvidia", "Type": "gpu", "Name": "Tesla T4"}
    tasks = {
        "usertask": {"Devices": [{**gpu, "DeviceIDs": ["a", "b"]}]},
        "helper": {"Devices": [{**gpu, "DeviceIDs": ["c"]}]},
        "sidecar": {"Devices": None},
    }
    placed = decode.allocation({**ALLOCATION, "AllocatedResources": {"Tasks": tasks}})
    assert placed.devices == {"nvidia/gpu/Tesla T4": 3}


def test_only_an_ended_task_has_an_exit_code():
    started = {"Type": "Started", "DisplayMessage": "hello", "Time": 5, "ExitCode": 0}
    ended = {
        "Type": "Terminated",
        "DisplayMessage": "Exit Code: 137",
        "Time": 6,
        "ExitCode": 137,
        "Details": {"oom_killed": "true"},
    }
    state = {"State": "dead", "Failed": True, "Restarts": 2, "Events": [started, ended]}
    (task,) = decode.allocation({**ALLOCATION, "TaskStates": {"t": state}}).tasks
    assert task.events == (
        TaskEvent("Started", "hello", 5),
        TaskEvent("Terminated", "Exit Code: 137", 6, exit_code=137, oom=True),
    )
    assert (task.name, task.state, task.failed, task.restarts) == ("t", "dead", True, 2)


def test_an_evaluation_says_why_a_group_was_not_placed():
    read = decode.evaluation({**EVALUATION, "BlockedEval": "e2", "FailedTGAllocs": {"g": METRICS}})
    assert read == Evaluation("e1", REF, "complete", "job-register", 7, 10, "e2", (FAILURE,))


def test_a_nomad_deployment_is_a_rollout():
    read = decode.rollout(
        {
            "ID": "d1",
            "Namespace": "ns",
            "JobID": "j1",
            "JobVersion": 2,
            "Status": "failed",
            "StatusDescription": "why",
            "ModifyIndex": 11,
        }
    )
    assert read == Rollout("d1", REF, 2, "failed", "why", 11)


def test_a_node_counts_its_healthy_devices():
    instances = [{"ID": "0", "Healthy": True}, {"ID": "1", "Healthy": False}]
    read = decode.node(
        {
            **NODE,
            "NodeResources": {
                "Cpu": {"CpuShares": 4000},
                "Memory": {"MemoryMB": 8000},
                "Disk": {"DiskMB": 9000},
                "Devices": [
                    {"Vendor": "nvidia", "Type": "gpu", "Name": "K80", "Instances": instances}
                ],
            },
        }
    )
    assert read == Node("n1", "node-1", "ready", True, 4, 4000, 8000, 9000, {"nvidia/gpu/K80": 1})


@pytest.mark.parametrize("eligibility", ["ineligible", ""])
def test_a_node_that_takes_no_work_is_not_eligible(eligibility):
    assert not decode.node({**NODE, "SchedulingEligibility": eligibility}).eligible


@pytest.mark.parametrize(
    ("answer", "effect"),
    [
        (plan("None", Ignore=1), "none"),
        (plan("None", Place=1), "none"),
        (plan("Added", index=0, Place=1), "creates"),
        (plan(InPlaceUpdate=1), "in place"),
        (plan(InPlaceUpdate=1, Place=1), "in place"),
        (plan(Place=1), "in place"),
        (plan(DestructiveUpdate=1), "restarts"),
        (plan(Stop=1), "restarts"),
        (plan(Canary=1), "restarts"),
        (plan(Migrate=1), "restarts"),
    ],
)
def test_a_plan_says_what_happens_to_running_work(answer, effect):
    assert decode.verdict(answer).effect == effect


def test_a_plan_that_does_not_fit_says_why_and_on_which_index_it_was_made():
    read = decode.verdict(plan(failed={"g": METRICS}, index=7, DestructiveUpdate=1))
    assert (read.fits, read.failures, read.index) == (False, (FAILURE,), 7)
    assert decode.verdict(plan(InPlaceUpdate=1)).fits


def test_an_empty_line_is_a_heartbeat():
    assert decode.changes({}) == Changes(0)


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [
        ("Job", {"Job": JOB}, Job),
        ("Allocation", {"Allocation": ALLOCATION}, Allocation),
        ("Evaluation", {"Evaluation": EVALUATION}, Evaluation),
        ("Node", {"Node": NODE}, Node),
    ],
)
def test_every_topic_is_read(topic, payload, kind):
    read = decode.changes(line(topic, payload))
    assert read.index == 12
    assert [type(change) for change in read.changes] == [kind]


def test_a_topic_nobody_asked_for_is_left_out():
    assert decode.changes(line("NodePool", {"NodePool": {}})) == Changes(12)


def test_one_line_may_tell_of_several_things():
    both = line("Job", {"Job": JOB})
    both["Events"] += line("Evaluation", {"Evaluation": EVALUATION})["Events"]
    assert len(decode.changes(both).changes) == 2


@pytest.mark.parametrize(
    ("payload", "kind", "gone"),
    [
        ({"Job": {**JOB, "ModifyIndex": 12}}, "JobRegistered", False),
        ({"Job": {**JOB, "ModifyIndex": 12, "Stop": True}}, "JobDeregistered", False),
        ({"Job": JOB, "Deleted": True}, "JobDeregistered", True),
        ({"Job": {**JOB, "Stop": True}, "Deleted": True}, "JobBatchDeregistered", True),
        ({"Job": {**JOB, "ModifyIndex": 12}, "Deleted": True}, "JobDeregistered", True),
        # Older versions: no flag, the job as it was before the write.
        ({"Job": JOB}, "JobDeregistered", True),
        ({"Job": {**JOB, "Stop": True}}, "JobDeregistered", True),
        ({"Job": {**JOB, "Stop": True}}, "JobBatchDeregistered", True),
        ({"Job": JOB}, "EvaluationUpdated", False),
    ],
)
def test_a_purge_is_told_from_a_stop(payload, kind, gone):
    (change,) = decode.changes(line("Job", payload, kind=kind)).changes
    assert (change == JobGone(REF, 12)) is gone
    assert isinstance(change, JobGone) is gone


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        (decode.job, {"ID": "j1"}),
        (decode.job, []),
        (decode.allocation, {"ok": True}),
        (decode.evaluation, "maintenance"),
        (decode.verdict, {"Diff": None}),
        (decode.changes, {"error": "gone"}),
        (decode.changes, {"Index": 3, "Events": ["x"]}),
        (decode.node, None),
    ],
)
def test_what_is_not_nomads_is_unreadable_and_never_a_value(read, answer):
    with pytest.raises(decode.UNREADABLE):
        read(answer)
