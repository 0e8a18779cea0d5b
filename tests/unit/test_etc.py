"""The shipped `etc/` folder is what the code expects of it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import hcl2
import pytest

from reconciler.render import SECRET_ENV, SECRETS_FILE, check_template, render
from specs.userconf import read_userconf
from specs.yaml_text import read_yaml
from tests.builders import SITE, a_deployment, a_spec

ETC = Path(__file__).parents[2] / "etc"
HCL = (ETC / "job.nomad").read_text()
FORM = read_userconf(read_yaml((ETC / "userconf.yaml").read_text()).tree).form()
NOMAD = os.environ.get("NOMAD_BIN") or shutil.which("nomad")


@pytest.fixture(scope="module")
def parsed():
    """Return the template as Nomad's own parser reads it; no agent is needed for that."""
    if NOMAD is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN")
    done = subprocess.run(
        [NOMAD, "job", "run", "-output", ETC / "job.nomad"],
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)["Job"]


def test_the_form_has_the_seeds_fields_in_the_seeds_order():
    assert {group: list(fields) for group, fields in FORM.items()} == {
        "general": [
            *("virtual_organization", "title", "desc", "docker_image", "docker_tag"),
            *("service", "jupyter_password"),
        ],
        "hardware": ["cpu_num", "gpu_num", "gpu_type", "ram", "disk"],
        "storage": [
            *("rclone_conf", "rclone_url", "rclone_vendor", "rclone_user", "rclone_password"),
        ],
    }


@pytest.mark.parametrize(
    ("group", "key", "span"),
    [
        ("general", "title", [0, 45]),
        ("general", "desc", [0, 1000]),
        ("hardware", "cpu_num", [1, 64]),
        ("hardware", "gpu_num", [0, 8]),
        ("hardware", "ram", [256, 1000000]),
        ("hardware", "disk", [256, 2000000]),
    ],
)
def test_the_shipped_ranges_stand(group, key, span):
    assert FORM[group][key]["range"] == span


def test_the_simulators_parser_reads_the_template():
    assert hcl2.loads(HCL)["job"]


@pytest.mark.nomad
def test_nomads_parser_reads_the_template_and_the_renderer_fills_it(parsed):
    check_template(parsed)
    job = render(a_deployment(a_spec()), parsed, SITE).job
    (group,) = job["TaskGroups"]
    (task,) = group["Tasks"]
    assert (group["Name"], task["Name"], task["Driver"]) == ("usergroup", "usertask", "docker")
    assert job["Datacenters"] == ["*"]


@pytest.mark.nomad
def test_the_ports_are_dynamic_and_lead_to_the_seeds(parsed):
    (network,) = parsed["TaskGroups"][0]["Networks"]
    assert network["ReservedPorts"] is None
    assert {port["Label"]: port["To"] for port in network["DynamicPorts"]} == {
        "deepaas": 5000,
        "monitor": 6006,
        "lab": 8888,
    }
    assert parsed["TaskGroups"][0]["Tasks"][0]["Config"]["ports"] == ["deepaas", "monitor", "lab"]


@pytest.mark.nomad
@pytest.mark.parametrize(("service", "labels"), [("deepaas", 2), ("jupyterlab", 3)])
def test_the_lab_is_offered_where_it_was_chosen(parsed, service, labels):
    job = render(a_deployment(a_spec(service=service)), parsed, SITE).job
    services = job["TaskGroups"][0]["Services"]
    assert len(services) == labels
    assert {service["Provider"] for service in services} == {"nomad"}


@pytest.mark.nomad
def test_secrets_come_by_the_template_block_only(parsed):
    task = parsed["TaskGroups"][0]["Tasks"][0]
    (template,) = task["Templates"]
    assert (template["DestPath"], template["Envvars"]) == (SECRETS_FILE, True)
    assert not set(task["Env"]) & set(SECRET_ENV.values())


@pytest.mark.nomad
def test_the_logs_fit_into_the_smallest_disk(parsed):
    logs = parsed["TaskGroups"][0]["Tasks"][0]["LogConfig"]
    smallest, _ = FORM["hardware"]["disk"]["range"]
    assert logs["MaxFiles"] * logs["MaxFileSizeMB"] < smallest
