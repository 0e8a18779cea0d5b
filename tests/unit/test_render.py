import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import ClusterForbidden
from reconciler.render import (
    SECRETS_FILE,
    Site,
    TemplateFault,
    check_template,
    digest_of,
    render,
    variable_items,
)
from specs.model import SECRET_SET
from tests.builders import SITE, TEMPLATE, UID, VO, a_deployment, a_spec, applied_as


def rendered(deployment=None, site=SITE, **spec):
    return render(deployment or a_deployment(a_spec(**spec)), TEMPLATE, site).job


def task_of(job):
    return job["TaskGroups"][0]["Tasks"][0]


def test_the_job_is_found_at_the_uid_in_the_vos_namespace():
    job = rendered()
    assert (job["ID"], job["Namespace"], job["Name"]) == (UID, "ai4eosc", "train-a")


def test_image_command_and_resources_come_from_the_spec():
    task = task_of(rendered(docker_image="deephdc/x", docker_tag="gpu", cpu_num=4, ram=2000))
    assert task["Config"]["image"] == "deephdc/x:gpu"
    assert (task["Config"]["command"], task["Config"]["args"]) == ("deep-start", ["--deepaas"])
    assert (task["Resources"]["CPU"], task["Resources"]["MemoryMB"]) == (4000, 2000)


def test_a_digest_is_joined_with_an_at_sign():
    assert (
        task_of(rendered(docker_image="a/b", docker_tag="sha256:0f"))["Config"]["image"]
        == "a/b@sha256:0f"
    )


def test_disk_is_the_groups_ephemeral_disk():
    assert rendered(disk=777)["TaskGroups"][0]["EphemeralDisk"]["SizeMB"] == 777


def test_whole_cores_are_asked_for_where_the_operator_says_so():
    site = Site(namespaces={VO: "ai4eosc"}, mhz_per_cpu=None)
    resources = task_of(rendered(site=site, cpu_num=3))["Resources"]
    assert (resources["Cores"], resources["CPU"]) == (3, None)


def test_no_gpu_asks_for_no_device():
    assert task_of(rendered(gpu_num=0, gpu_type="Tesla K80"))["Resources"]["Devices"] == []


@pytest.mark.parametrize(
    ("model", "block"), [("affinity", "Affinities"), ("constraint", "Constraints")]
)
def test_a_gpu_model_is_a_preference_or_a_demand_as_the_operator_says(model, block):
    site = Site(namespaces={VO: "ai4eosc"}, gpu_model=model)
    (device,) = task_of(rendered(site=site, gpu_num=2, gpu_type="Tesla K80"))["Resources"][
        "Devices"
    ]
    assert (device["Name"], device["Count"]) == ("nvidia/gpu", 2)
    assert device[block][0]["RTarget"] == "Tesla K80"


def test_blocks_that_depend_on_a_choice_are_dropped_when_it_was_not_made():
    group = rendered(service="deepaas")["TaskGroups"][0]
    assert [s["Name"] for s in group["Services"]] == ["deepaas"]
    assert [t["Name"] for t in group["Tasks"]] == ["usertask"]
    group = rendered(service="jupyterlab", rclone_user="u")["TaskGroups"][0]
    assert [s["Name"] for s in group["Services"]] == ["deepaas", "lab"]
    assert [t["Name"] for t in group["Tasks"]] == ["usertask", "sidecar"]


def test_the_template_for_secrets_is_there_only_when_there_is_one():
    assert task_of(rendered())["Templates"] == []
    (template,) = task_of(rendered(jupyter_password=SECRET_SET))["Templates"]
    assert template["DestPath"] == SECRETS_FILE


def test_no_secret_value_can_be_in_a_job():
    items = variable_items({"general.jupyter_password": "hunter2-hunter2"})
    assert items == {"jupyterPASSWORD": "hunter2-hunter2"}
    assert "hunter2" not in json.dumps(rendered(jupyter_password=SECRET_SET))


def test_meta_says_whose_it_is_and_ui_what_it_is_called():
    job = rendered(title="My training", desc="of a net")
    assert job["Meta"] == {
        "template_version": "1",
        "owner": "alice@egi.eu",
        "owner_name": "Alice",
        "title": "My training",
        "description": "of a net",
        "ai4papi_uid": UID,
        "managed_by": "ai4papi",
    }
    assert job["UI"]["Description"] == "My training\n\nof a net"


def test_a_new_title_leaves_meta_as_it_was_at_creation():
    first = render(a_deployment(a_spec(title="old")), TEMPLATE, SITE)
    later = a_deployment(a_spec(title="new"), generation=2, applied=applied_as(first))
    job = render(later, TEMPLATE, SITE).job
    assert job["Meta"]["title"] == "old"
    assert job["UI"]["Description"] == "new"


def test_another_name_of_the_owner_leaves_meta_as_it_was_at_creation():
    """A file knows the `sub` only, and people marry: neither restarts what runs."""
    first = render(a_deployment(owner_name="alice@egi.eu"), TEMPLATE, SITE)
    later = a_deployment(owner_name="Alice", generation=2, applied=applied_as(first))
    assert render(later, TEMPLATE, SITE).job == first.job


@pytest.mark.parametrize("letter", ["x", "ü", "😀"])
def test_a_long_description_is_cut_where_nomad_would_refuse_it(letter):
    shown = rendered(title=letter * 45, desc=letter * 1000)["UI"]["Description"]
    size = len(letter.encode())
    assert 1000 - size < len(shown.encode()) <= 1000
    assert set(shown) == {letter, "\n"}


PRIORITIES = {"low": 30, "high": 70}


@pytest.mark.parametrize(
    ("name", "priority"), [("low", 30), ("high", 70), (None, 60), ("no-longer-there", 60)]
)
def test_a_class_sets_the_priority_and_none_leaves_the_templates_own(name, priority):
    site = Site(namespaces={VO: "ai4eosc"}, priorities=PRIORITIES)
    template = {**TEMPLATE, "Priority": 60}
    deployment = a_deployment(a_spec(priority_class=name))
    assert render(deployment, template, site).job["Priority"] == priority


def test_a_new_template_changes_nothing_until_the_wish_changes():
    first = render(a_deployment(), TEMPLATE, SITE)
    newer = copy.deepcopy(dict(TEMPLATE)) | {"Priority": 80}
    same = a_deployment(applied=applied_as(first))
    assert render(same, newer, SITE).digest == first.digest
    changed = a_deployment(generation=2, applied=applied_as(first))
    assert render(changed, newer, SITE).job["Priority"] == 80


@given(st.text(max_size=60))
def test_whatever_a_token_calls_its_owner_nomad_finds_nothing_to_expand(name):
    meta = rendered(a_deployment(owner_name=f"{name}${{attr.unique.hostname}}%{{if}}"))["Meta"]
    assert "${" not in meta["owner_name"]
    assert "%{" not in meta["owner_name"]


def test_rendering_leaves_the_template_alone():
    before = json.dumps(TEMPLATE)
    rendered(service="jupyterlab", gpu_num=1)
    assert json.dumps(TEMPLATE) == before


def test_equal_jobs_have_equal_digests_whatever_the_order():
    assert digest_of({"a": 1, "b": [1]}) == digest_of({"b": [1], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_a_vo_without_namespace_is_the_operators_fault():
    with pytest.raises(ClusterForbidden, match=r"vo\.other"):
        rendered(a_deployment(vo="vo.other"))


def without(path):
    template = copy.deepcopy(dict(TEMPLATE))
    *way, last = path
    block = template
    for step in way:
        block = block[step]
    del block[last]
    return template


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (("TaskGroups", 0, "Name"), "usergroup"),
        (("TaskGroups", 0, "Tasks", 0, "Name"), "usertask"),
        (("TaskGroups", 0, "Tasks", 0, "Env"), "env"),
        (("TaskGroups", 0, "Tasks", 0, "Templates", 0, "DestPath"), SECRETS_FILE),
    ],
)
def test_a_template_without_a_needed_block_is_refused_by_name(path, says):
    with pytest.raises(TemplateFault, match=says):
        check_template(without(path))
