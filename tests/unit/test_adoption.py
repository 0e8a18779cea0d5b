"""What is read from jobs of the platform before this one, and which are left alone and why."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.adoption import examine, is_theirs, may_be_theirs
from reconciler.jobs import Job, JobRef
from reconciler.render import Site
from specs.model import SECRET_SET
from tests.builders import SITE, VO
from tests.papi import MAIL, PASSWORD, RCLONE, a_new_job, an_old_job

ISSUERS = ("https://idp.example",)


def as_read(job, **changes):
    return {"JobModifyIndex": 7, "SubmitTime": 1_700_000_000 * 10**9, **job, **changes}


def found_in(job, site=SITE, issuers=ISSUERS):
    return examine(as_read(job), site, issuers)


def task_of(job, name):
    return next(t for t in job["TaskGroups"][0]["Tasks"] if t["Name"] == name)


def with_task(**changes):
    job = copy.deepcopy(a_new_job())
    task_of(job, "main").update(changes)
    return job


def with_group(**changes):
    job = copy.deepcopy(a_new_job())
    job["TaskGroups"][0].update(changes)
    return job


def with_config(**changes):
    return with_task(Config={**task_of(a_new_job(), "main")["Config"], **changes})


def with_resources(**changes):
    return with_task(Resources={"CPU": 100, "MemoryMB": 300, **changes})


@pytest.mark.parametrize("job", [an_old_job(), a_new_job()], ids=["userjob", "module"])
def test_the_record_says_what_the_job_does(job):
    found = found_in(job)
    record = found.record
    assert (found.why_not, record.uid, record.name) == ("", job["ID"], job["ID"])
    assert (record.owner, record.vo) == (("https://idp.example", "alice"), VO)
    spec = record.spec
    assert (spec.general.docker_image, spec.general.docker_tag, spec.general.service) == (
        "deephdc/deep-oc-image-classification-tf",
        "cpu",
        "deepaas",
    )
    assert (spec.hardware.cpu_num, spec.hardware.ram, spec.hardware.disk) == (1, 300, 400)
    assert (spec.storage.rclone_user, spec.general.jupyter_password) == ("alice", SECRET_SET)
    assert found.secrets["general.jupyter_password"] == PASSWORD
    assert record.source == {"type": "adopted", "job": job["ID"]}
    assert record.applied.adopted
    assert record.applied.index == 7


def test_no_password_leaves_the_secrets():
    """Neither the job on record nor what is shown has one; not in a message, not in a repr."""
    found = found_in(a_new_job())
    told = json.dumps(found.record.applied.job) + repr(found) + found.record.spec.model_dump_json()
    assert [word for word in (PASSWORD, RCLONE, MAIL) if word in told] == []


def test_what_a_spec_cannot_say_is_named():
    left = " | ".join(found_in(a_new_job(Priority=80, Constraints=[{}])).left_out)
    for word in ("email-notification", "MLFLOW_TRACKING_PASSWORD", "constraints", "priority 80"):
        assert word in left
    assert MAIL not in left


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (a_new_job(ID="a/b"), "its id"),
        (a_new_job(ID="a b"), "its id"),
        (a_new_job(ID="module-é"), "its id"),
        (a_new_job(ID="module-1\n"), "its id"),
        (a_new_job(ID="x" * 64), "its id"),
        (a_new_job(Namespace="elsewhere"), "no VO"),
        (a_new_job(owner="two words"), "its owner"),
        (a_new_job(owner=""), "its owner"),
        (a_new_job(TaskGroups=[]), "one group"),
        (with_group(Name="other"), "one group"),
        (with_group(Count=2), "2 copies"),
        (with_group(Tasks=[]), "no task"),
        (with_task(Driver="raw_exec"), "raw_exec"),
        (with_task(Config=None), "image"),
        (with_config(image=7), "image"),
        (with_config(command="/bin/bash"), "deep-start"),
        (with_config(args=["--deepaas", "--more"]), "deep-start"),
        (with_config(args=[{"x": 1}]), "deep-start"),
        (with_config(args={"x": 1}), "deep-start"),
        (with_config(image="a/b:${meta.tag}"), "expand"),
        (with_resources(Devices=[{"Name": "fpga", "Count": 1}]), "fpga"),
    ],
)
def test_a_job_that_is_left_alone_says_why(job, why):
    """Ids that no address can carry, owners that no provider has, shapes that are not rendered."""
    found = found_in(job)
    assert (found.record, found.secrets) == (None, {})
    assert why in found.why_not


def test_whose_subject_the_owner_is_must_be_known():
    assert "say which" in found_in(a_new_job(), issuers=("a", "b")).why_not
    assert "nobody's" in found_in(a_new_job(), issuers=()).why_not


def test_a_namespace_of_two_vos_is_no_answer():
    site = Site(namespaces={VO: "ai4eosc", "other": "ai4eosc"})
    assert "several VOs" in found_in(a_new_job(), site=site).why_not


def test_values_beyond_the_form_are_taken_as_found():
    job = with_resources(Cores=500, MemoryMB=3, CPU=0)
    task_of(job, "main")["Config"]["args"] = ["--vscode"]
    spec = found_in(job).record.spec
    assert (spec.hardware.cpu_num, spec.hardware.ram) == (500, 3)
    assert spec.general.service == "vscode"


@pytest.mark.parametrize(("mhz", "cpus"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (8000, 8)])
def test_mhz_are_rounded_up_to_whole_cpus(mhz, cpus):
    assert found_in(with_resources(CPU=mhz)).record.spec.hardware.cpu_num == cpus


@pytest.mark.parametrize("block", ["Constraints", "Affinities"])
def test_the_gpu_model_is_read_from_either_form(block):
    wish = {"LTarget": "${device.model}", "RTarget": "Tesla V100", "Operand": "="}
    device = {"Name": "gpu", "Count": 1, block: [wish]}
    hardware = found_in(with_resources(Devices=[device])).record.spec.hardware
    assert (hardware.gpu_num, hardware.gpu_type) == (1, "Tesla V100")


def test_only_their_running_services_are_looked_at():
    assert is_theirs(as_read(an_old_job()))
    assert is_theirs(as_read(a_new_job()))
    for changes in ({"Type": "batch"}, {"Stop": True}, {"Name": "tool-cvat-1"}, {"Name": "x"}):
        assert not is_theirs(as_read(a_new_job(), **changes))
    meta = {"owner": "alice", "title": ""}
    job = Job(JobRef("n", "i"), 1, 1, stopped=False, status="running", meta=meta)
    assert may_be_theirs(job)
    for meta in ({}, {"owner": "alice"}, {"owner": "a", "title": "", "managed_by": "ai4papi"}):
        assert not may_be_theirs(Job(job.ref, 1, 1, stopped=False, status="running", meta=meta))


TEXTS = st.text(max_size=8)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(config=st.none() | st.dictionaries(st.sampled_from(["image", "command", "args"]), ANYTHING))
def test_whatever_a_driver_was_told_is_read_or_refused(config):
    """A driver's config is the only part of a job that Nomad does not type."""
    found = found_in(with_task(Config=config))
    assert (found.record is None) == bool(found.why_not)
