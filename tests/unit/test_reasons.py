"""R24: what Nomad answered when it could not run something, in a user's words."""

import json
import re
from pathlib import Path

import pytest

from reconciler.cluster import decode
from reconciler.jobs import TaskEvent, TaskState
from reconciler.reasons import HINTS, hint_of, why_failed, why_not_placed, why_waiting
from tests.builders import a_failure, a_spec, an_allocation

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests/recorded"


def recorded(case):
    return json.loads((RECORDED / f"{case}.json").read_text())


def hardware(**asked):
    return a_spec(**asked).hardware


UNPLACED = {
    "no-nodes": ({}, "NoNodes", "no node of the cluster is ready for work"),
    "no-such-gpu": ({"gpu_num": 1}, "NoSuchGPU", "needs 1 GPU; none of 2 nodes has it"),
    "gpus-more-than-any-node-has": (
        {"gpu_num": 3, "gpu_type": "Tesla V100"},
        "NoSuchGPU",
        "needs 3 GPUs (preferably of model Tesla V100); none of 2 nodes has them",
    ),
    "gpus-taken": (
        {"gpu_num": 2},
        "GPUsTaken",
        "needs 2 GPUs; 1 node has them, but not 2 free; of the other nodes 1 has no such GPUs",
    ),
    "cpu-taken": (
        {"cpu_num": 2000},
        "ResourcesTaken",
        "needs 2000 CPUs; none of 2 nodes has that free",
    ),
    "cores-taken": (
        {"cpu_num": 500},
        "ResourcesTaken",
        "needs 500 CPU cores; none of 2 nodes has that free",
    ),
    "memory-taken": (
        {"ram": 5_000_000},
        "ResourcesTaken",
        "needs 5000000 MB of memory; none of 2 nodes has that free",
    ),
    "disk-taken": (
        {"disk": 90_000_000},
        "ResourcesTaken",
        "needs 90000000 MB of disk; none of 2 nodes has that free",
    ),
    "cpu-and-memory-taken": (
        {"cpu_num": 50, "ram": 5_000_000},
        "ResourcesTaken",
        "needs 50 CPUs and 5000000 MB of memory; of 2 nodes 1 lacks free CPU, 1 lacks free memory",
    ),
    "port-taken": (
        {},
        "PortsTaken",
        (
            "the one node that fits has no free port (reserved port collision http=41997);"
            " of the other nodes 1 does not meet ${node.unique.name} = node-1"
        ),
    ),
    "ports-exhausted": (
        {},
        "PortsTaken",
        (
            "the one node that fits has no free port (dynamic port selection failed);"
            " of the other nodes 1 does not meet ${node.unique.name} = node-2"
        ),
    ),
    "constraints": (
        {},
        "ConstraintsNotMet",
        "of 2 nodes 2 do not meet ${meta.type} = compute",
    ),
    "drivers-missing": ({}, "NoDriver", "none of 2 nodes has the job's driver ready"),
    "two-groups": (
        {"ram": 5_000_000},
        "GPUsTaken",
        (
            "group sidegroup: of 1 node 1 lacks free GPUs; of the other nodes 1 has no such GPUs;"
            " group usergroup: needs 5000000 MB of memory; none of 2 nodes has that free"
        ),
    ),
    "documented-quota-exhausted": (
        {},
        "QuotaExhausted",
        "the quota of its namespace is used up (memory exhausted (8000 needed > 4000 limit))",
    ),
}

DEMANDED = {
    "gpu-model-missing": (
        {"gpu_num": 1, "gpu_type": "Tesla V100"},
        "NoSuchGPU",
        "needs 1 GPU of model Tesla V100; none of 2 nodes has it",
    ),
    "gpus-of-model-taken": (
        {"gpu_num": 1, "gpu_type": "mock"},
        "GPUsTaken",
        (
            "needs 1 GPU of model mock; 1 node has it, but not 1 free;"
            " of the other nodes 1 has no such GPUs"
        ),
    ),
}

WAITING = {
    "image-downloading": ("PullingImage", "node node-1 pulls the image of task usertask"),
    "restarting": (
        "Restarting",
        "task usertask ended with exit code 3; restarted 2 times; Nomad tries again",
    ),
    "variable-missing": (
        "MissingVariable",
        "task usertask waits for Variable nomad/jobs/variable-missing",
    ),
}

FAILED = {
    "image-missing": (
        "ImagePullFailed",
        "task usertask could not start: Failed to pull `127.0.0.1:41999/none:1`: manifest unknown",
    ),
    "registry-down": (
        "ImagePullFailed",
        (
            "task usertask could not start: Failed to pull `127.0.0.1:41996/none:1`:"
            ' Get "http://127.0.0.1:41996/v2/": dial tcp 127.0.0.1:41996:'
            " connect: connection refused"
        ),
    ),
    "command-missing": (
        "CommandNotFound",
        "task usertask could not start: its image has no deep-start",
    ),
    "driver-failure": (
        "DriverFailure",
        (
            "task usertask could not start:"
            " failed to create container: Unknown runtime specified nvidia"
        ),
    ),
    "out-of-memory": ("OutOfMemory", "task usertask used more memory than it asked for"),
    "exit-code": ("Exited", "task usertask ended with exit code 3"),
    "exit-code-zero": (
        "Exited",
        "task usertask ended by itself with exit code 0; a service goes on",
    ),
    "signal": ("Killed", "task usertask was ended by signal 11 (SIGSEGV)"),
    "crash-loop-ended": ("Exited", "task usertask ended with exit code 3, also after 2 restarts"),
    "template-broken": (
        "SetupFailed",
        (
            "task usertask could not be set up: Template failed: (dynamic): parse: template: :1:"
            ' function "nope" not defined'
        ),
    ),
    "artifact-missing": (
        "SetupFailed",
        (
            "task usertask could not be set up: failed to download artifact"
            ' "http://127.0.0.1:41999/none.tar.gz": getter subprocess failed: exit status 1:'
            " failed to download artifact: bad response code: 404"
        ),
    ),
    "unhealthy": ("Unhealthy", "running on node node-1, but not healthy within 20s"),
    "node-lost": ("NodeLost", "node node-2 was lost with the work on it"),
    "node-down": ("NodeDown", "node node-2 does not answer"),
}


def test_every_recorded_answer_is_told_of_in_a_case():
    cases = UNPLACED.keys() | DEMANDED.keys() | WAITING.keys() | FAILED.keys()
    assert {path.stem for path in RECORDED.glob("*.json")} == cases


@pytest.mark.parametrize("case", UNPLACED)
def test_an_evaluation_that_placed_nothing_is_told_with_numbers_and_a_hint(case):
    asked, reason, message = UNPLACED[case]
    why = why_not_placed(decode.evaluation(recorded(case)).failures, hardware(**asked))
    assert (why.reason, why.message) == (reason, message)
    assert why.hint


@pytest.mark.parametrize("case", DEMANDED)
def test_a_model_is_said_to_be_missing_where_the_site_demands_it(case):
    asked, reason, message = DEMANDED[case]
    failures = decode.evaluation(recorded(case)).failures
    why = why_not_placed(failures, hardware(**asked), gpu_model="constraint")
    assert (why.reason, why.message) == (reason, message)
    assert why.hint


@pytest.mark.parametrize("case", WAITING)
def test_an_allocation_that_is_not_up_yet_says_what_it_waits_for(case):
    reason, message = WAITING[case]
    why = why_waiting(decode.allocation(recorded(case)))
    assert (why.reason, why.message) == (reason, message)
    assert why.hint


@pytest.mark.parametrize("case", FAILED)
def test_an_allocation_that_ended_badly_or_is_not_well_says_why(case):
    reason, message = FAILED[case]
    why = why_failed(decode.allocation(recorded(case)))
    assert (why.reason, why.message) == (reason, message)
    assert why.hint


def test_gpus_that_are_busy_are_not_said_to_be_missing_because_other_nodes_have_none():
    failure = a_failure(
        nodes_evaluated=10,
        nodes_filtered=7,
        nodes_exhausted=3,
        constraint_filtered={"missing devices": 1, "computed class ineligible": 6},
        dimension_exhausted={"devices: no devices match request": 3},
    )
    why = why_not_placed([failure], hardware(gpu_num=2, gpu_type="X"), gpu_model="constraint")
    assert why.reason == "GPUsTaken"
    assert why.message == (
        "needs 2 GPUs of model X; 3 nodes have them, none has 2 free;"
        " of the other nodes 7 have no such GPUs"
    )


def test_several_constraints_are_told_one_by_one():
    failure = a_failure(
        nodes_evaluated=9,
        nodes_filtered=9,
        constraint_filtered={
            "missing devices": 2,
            "${meta.type} = compute": 1,
            "computed class ineligible": 6,
        },
    )
    why = why_not_placed([failure], hardware(gpu_num=1))
    assert why.reason == "NoSuchGPU"
    assert why.message == (
        "needs 1 GPU; of 9 nodes 1 does not meet ${meta.type} = compute,"
        " 2 have no such GPUs, 6 are like these"
    )


def test_no_word_from_nomad_is_told_as_such():
    assert why_not_placed([], hardware()).reason == "Unplaceable"


def test_an_allocation_without_trouble_is_starting_and_names_the_tasks_that_are_late():
    def task(name, state):
        return TaskState(name, state, failed=False, restarts=0)

    early = an_allocation("pending", tasks=(task("usertask", "pending"),))
    assert why_waiting(early).message == f"starting on node {early.node_name}"
    late = an_allocation("running", tasks=(task("usertask", "running"), task("mount", "pending")))
    assert why_waiting(late).message == f"starting mount on node {late.node_name}"


def test_a_template_that_waits_for_something_else_says_so():
    event = TaskEvent("Template", "Missing: kv.block(x)", 0)
    task = TaskState("usertask", "pending", failed=False, restarts=0, events=(event,))
    why = why_waiting(an_allocation("pending", tasks=(task,)))
    assert (why.reason, why.message) == (
        "WaitingForTemplate",
        "task usertask waits: Missing: kv.block(x)",
    )


def test_the_task_that_failed_is_told_of_not_the_one_that_ended_with_it():
    def task(name, code, *, failed):
        event = TaskEvent("Terminated", "", 0, exit_code=code)
        return TaskState(name, "dead", failed=failed, restarts=0, events=(event,))

    tasks = (task("usertask", 143, failed=False), task("mount", 3, failed=True))
    why = why_failed(an_allocation("failed", tasks=tasks))
    assert why.message == "task mount ended with exit code 3"


def test_the_latest_failure_counts():
    events = (
        TaskEvent("Terminated", "", 0, exit_code=3),
        TaskEvent("Restarting", "", 1),
        TaskEvent("Terminated", "", 2, exit_code=137, oom=True),
    )
    task = TaskState("usertask", "dead", failed=True, restarts=1, events=events)
    assert why_failed(an_allocation("failed", tasks=(task,))).reason == "OutOfMemory"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension_exhausted": {"memory": 1}}, "the one node that fits has less than that free"),
        ({"constraint_filtered": {"missing devices": 1}}, "the only node has no such GPUs"),
        ({"constraint_filtered": {"missing drivers": 1}}, "the only node has not the job's driver"),
    ],
)
def test_a_cluster_of_one_node_is_told_of_in_the_singular(changes, message):
    why = why_not_placed([a_failure(nodes_evaluated=1, **changes)], hardware(gpu_num=2))
    assert message in why.message


def test_a_failure_without_events_is_told_by_its_node():
    allocation = an_allocation("failed")
    assert why_failed(allocation).message == f"the allocation on node {allocation.node_name} failed"


def test_the_readme_has_the_same_reasons_as_the_table_of_hints():
    readme = (ROOT / "README.md").read_text()
    (table,) = re.findall(r"^## Why is it queued\?\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    first_cells = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    told = re.findall(r"`(\w+)`", " ".join(first_cells))
    assert sorted(told) == sorted(HINTS)


def test_every_reason_given_here_has_a_hint():
    source = (ROOT / "reconciler/reasons.py").read_text()
    given = set(re.findall(r'Reason\(\s*"(\w+)"', source)) | {"GPUsTaken", "ResourcesTaken"}
    assert {reason for reason in given if not hint_of(reason)} == set()


def test_what_goes_well_needs_no_hint():
    assert hint_of("Running") == ""
