"""What the faces show of a deployment."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from api import operations, schemas, timeline
from api.views import (
    deployment_view,
    is_ready,
    is_settled,
    legacy_word,
    list_view,
    seed_view,
    status_view,
)
from specs.model import (
    AllocationStatus,
    Condition,
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    General,
    Hardware,
    JobStatus,
    Owner,
    Phase,
    Pin,
    Storage,
)

AT = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def spec(**general):
    texts = dict.fromkeys(General.model_fields, "") | {
        "docker_image": "deephdc/image",
        "docker_tag": "cpu",
        "service": "deepaas",
        "virtual_organization": "vo.a",
    }
    return DeploymentSpec(
        general=General(**(texts | general)),
        hardware=Hardware(cpu_num=2, gpu_num=1, gpu_type="", ram=8000, disk=300),
        storage=Storage(**dict.fromkeys(Storage.model_fields, "")),
    )


def condition(kind, status="True", reason="Because", message="it is so"):
    return Condition(
        type=kind, status=status, reason=reason, message=message, last_transition_time=AT
    )


def deployment(phase=Phase.RUNNING, *, conditions=(), told=1, message="", **changes):
    told_status = DeploymentStatus(
        phase=phase, conditions=tuple(conditions), observed_generation=told, message=message
    )
    record = Deployment(
        uid="u-1",
        owner=Owner("https://op", "sub@op"),
        owner_name="Ada",
        vo="vo.a",
        name="train-a",
        spec=spec(),
        generation=1,
        secrets_generation=0,
        resource_version=7,
        created_at=AT,
        status=told_status,
    )
    return replace(record, **changes)


@pytest.mark.parametrize(
    ("phase", "word"),
    [
        (Phase.ACCEPTED, "queued"),
        (Phase.QUEUED, "queued"),
        (Phase.STARTING, "starting"),
        (Phase.RUNNING, "running"),
        (Phase.DEGRADED, "down"),
        (Phase.FAILED, "failed"),
        (Phase.COMPLETE, "complete"),
        (Phase.SUSPENDED, "down"),
        (Phase.HELD, "queued"),
        (Phase.DELETING, "down"),
    ],
)
def test_each_phase_has_its_legacy_word(phase, word):
    assert legacy_word(deployment(phase)) == word


@pytest.mark.parametrize(
    ("client_status", "word"), [("running", "running"), ("pending", "queued"), ("lost", "queued")]
)
def test_what_is_held_runs_only_where_something_runs(client_status, word):
    allocation = AllocationStatus(id="a", client_status=client_status)
    status = DeploymentStatus(phase=Phase.HELD, nomad=JobStatus(allocations=(allocation,)))
    assert legacy_word(deployment(status=status)) == word


def test_every_phase_has_a_legacy_word():
    assert all(legacy_word(deployment(phase)) for phase in Phase)


def test_what_nomad_refuses_for_good_is_an_error():
    stalled = deployment(Phase.FAILED, conditions=[condition("Stalled")])
    assert legacy_word(stalled) == "error"
    assert legacy_word(replace(stalled, deletion_requested_at=AT)) == "failed"


def test_the_seed_sees_its_own_shape():
    assert seed_view(deployment()).model_dump(exclude_unset=True) == {
        "job_ID": "u-1",
        "status": "running",
        "owner": "sub@op",
        "title": "train-a",
        "description": "",
        "docker_image": "deephdc/image:cpu",
        "submit_time": "2026-11-24 09:30:00",
        "resources": {"cpu_num": 2, "gpu_num": 1, "memoryMB": 8000, "diskMB": 300},
        "endpoints": {},
        "alloc_ID": None,
    }


def test_a_title_is_shown_where_there_is_one():
    titled = seed_view(deployment(spec=spec(title="Mine", desc="Words")))
    assert (titled.title, titled.description) == ("Mine", "Words")


def test_a_digest_is_no_tag():
    digest = "sha256:" + "0" * 64
    assert (
        seed_view(deployment(spec=spec(docker_tag=digest))).docker_image
        == f"deephdc/image@{digest}"
    )


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([], None),
        (["pending"], "a0"),
        (["pending", "running"], "a1"),
        (["failed", "failed"], "a0"),
        (["running", "running"], "a0"),
    ],
)
def test_the_running_allocation_is_shown_else_the_newest(states, shown):
    allocations = [AllocationStatus(id=f"a{i}", client_status=s) for i, s in enumerate(states)]
    record = deployment()
    status = record.status.model_copy(update={"nomad": JobStatus(allocations=tuple(allocations))})
    assert seed_view(replace(record, status=status)).alloc_ID == shown


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (deployment(Phase.QUEUED, message="needs 2 GPUs"), "needs 2 GPUs"),
        (deployment(Phase.FAILED, message="exit code 1"), "exit code 1"),
        (deployment(Phase.HELD, message="would not fit"), "would not fit"),
        (deployment(Phase.RUNNING, message="running on node a"), None),
        (deployment(Phase.ACCEPTED, message="accepted"), None),
        (deployment(Phase.COMPLETE, message="ended"), None),
        (
            deployment(
                Phase.ACCEPTED,
                conditions=[condition("Synced", "False", "ClusterUnavailable", "no answer")],
            ),
            "no answer",
        ),
        (
            deployment(
                Phase.ACCEPTED, conditions=[condition("Synced", "False", "Pending", "soon")]
            ),
            None,
        ),
    ],
)
def test_an_error_message_is_there_where_something_is_wrong(record, message):
    assert seed_view(record).model_dump(exclude_unset=True).get("error_msg") == message


@pytest.mark.parametrize(
    ("record", "ready", "settled"),
    [
        (deployment(conditions=[condition("Ready")]), True, True),
        (deployment(conditions=[condition("Ready")], generation=2), False, False),
        (deployment(Phase.QUEUED, conditions=[condition("Ready", "False")]), False, False),
        (deployment(Phase.HELD, conditions=[condition("Ready", "False")]), False, False),
        (deployment(Phase.FAILED), False, True),
        (deployment(Phase.FAILED, generation=2), False, False),
        (deployment(Phase.SUSPENDED), False, True),
        (deployment(Phase.STARTING, conditions=[condition("Stalled")]), False, True),
        (deployment(Phase.STARTING, conditions=[condition("Stalled", "False")]), False, False),
        (deployment(conditions=[condition("Ready")], deletion_requested_at=AT), True, False),
        (deployment(Phase.ACCEPTED, told=0), False, False),
    ],
)
def test_a_status_is_ready_and_settled_for_its_own_generation_only(record, ready, settled):
    assert (is_ready(record), is_settled(record)) == (ready, settled)


def test_the_object_has_times_in_utc_and_nothing_that_is_absent():
    shown = deployment_view(deployment()).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert shown["metadata"]["creationTimestamp"] == "2026-11-24T09:30:00Z"
    assert shown["metadata"]["resourceVersion"] == "7"
    assert {"deletionTimestamp", "deletionHeld", "pinnedGeneration"}.isdisjoint(shown["metadata"])
    assert "plan" not in shown
    assert shown["apiVersion"] == "ai4papi/v1"


def test_a_pin_and_a_held_deletion_are_in_the_metadata():
    pinned = deployment(pin=Pin(3, spec(), by="Ada"), deletion_held="gone from the source")
    shown = deployment_view(pinned).metadata
    assert (shown.pinned_generation, shown.deletion_held) == (3, "gone from the source")


def test_the_small_status_says_of_what_it_speaks():
    shown = status_view(deployment(Phase.QUEUED, message="needs 2 GPUs", generation=3))
    text = shown.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert text["name"] == "train-a"
    assert (text["generation"], text["observedGeneration"]) == (3, 1)
    assert (text["phase"], text["message"]) == ("Queued", "needs 2 GPUs")


def test_the_status_view_is_what_its_schema_says():
    shown = status_view(deployment(conditions=[condition("Ready")]))
    assert type(shown).model_validate_json(shown.model_dump_json(by_alias=True)) == shown


def test_the_end_of_a_list_has_no_continue():
    shown = list_view([deployment()], continue_=None, version=9)
    assert shown.model_dump(by_alias=True)["metadata"] == {"continue": "", "resourceVersion": "9"}


def test_the_examples_are_what_the_models_accept():
    shapes = [*vars(schemas).values(), *vars(timeline).values(), *vars(operations).values()]
    models = {m for m in shapes if isinstance(m, type) and issubclass(m, BaseModel)}
    shown = [
        model.model_validate(example)
        for model in models
        for example in (model.model_config.get("json_schema_extra") or {}).get("examples", ())
    ]
    assert len(shown) >= 15
