"""What our job is in Nomad's own eyes: the blocks of `etc/job.nomad` and no others.

Whatever was typed, read back from a real Nomad and from the simulator alike. A test names the rows
of the list of attacks that it covers.
"""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from reconciler.render import Site, render
from specs.model import Owner
from specs.userconf import read_userconf
from specs.wish import wish_of_conf
from specs.yaml_text import read_yaml
from tests.builders import VO, a_deployment
from tests.contract.doors import NAMESPACE, Case, group_of, task_of

ETC = Path(__file__).parents[2] / "etc"
FORM = read_userconf(read_yaml((ETC / "userconf.yaml").read_text()).tree)
MAX_JOB_BYTES = 64 * 1024

HARMLESS = {"general": {"title": "t", "desc": "d"}, "storage": {"rclone_user": "u"}}
BREAKOUT = 'x" } task "evil" { driver = "raw_exec" } #'
HOSTILE = {
    "general": {
        "title": BREAKOUT,
        "desc": f"EOF\n{BREAKOUT}\n{{{{ env `NOMAD_TOKEN` }}}} $HOME `id` $(id) \\\n<<EOF",
    },
    "storage": {
        "rclone_conf": f"/{BREAKOUT}",
        "rclone_url": 'http://a"\'\\{{ key "x" }}',
        "rclone_user": '","privileged":true,"x":"',
    },
}
LONGEST = {
    "general": {"title": "😀" * 45, "desc": "😀" * 1000},
    "storage": dict.fromkeys(("rclone_conf", "rclone_url", "rclone_user"), "😀" * 512),
}
CHOSEN = {"service": "jupyterlab", "jupyter_password": "s3cret-s3cret"}

BY_NOMAD = {"CreateIndex", "JobModifyIndex", "ModifyIndex", "Status", "SubmitTime"}
JOB = {"ID", "Name", "Namespace", "Region", "NodePool", "Datacenters", "Type", "Priority", "Meta"}
JOB |= {"UI", "Update", "TaskGroups"}
META = {"owner", "owner_name", "title", "description", "ai4papi_uid", "managed_by"}
META |= {"template_version"}
GROUP = {"Name", "Count", "Constraints", "EphemeralDisk", "Migrate", "Networks", "Services"}
GROUP |= {"ReschedulePolicy", "RestartPolicy", "Update", "Tasks"}
SERVICE = {"AddressMode", "Cluster", "Name", "Namespace", "OnUpdate", "PortLabel", "Provider"}
TASK = {"Name", "Driver", "Config", "Env", "Templates", "Identity", "KillTimeout", "LogConfig"}
TASK |= {"Resources", "RestartPolicy"}
CONFIG = {"image", "image_pull_timeout", "command", "args", "ports"}
ENV = {"RCLONE_CONFIG"} | {
    f"RCLONE_CONFIG_RSHARE_{key}" for key in ("TYPE", "URL", "VENDOR", "USER")
}


def said(block: Any) -> set[str]:
    """Return the keys that say something; Nomad shows all others empty."""
    return {key for key, value in block.items() if value not in (None, "", 0, False, [], {})}


def rendered(case: Case, conf: dict[str, Any]) -> dict[str, Any]:
    body = {**conf, "general": {**conf["general"], **CHOSEN}, "hardware": {"gpu_num": 1}}
    wish = wish_of_conf(body, FORM, vos=[VO], name="train-a")
    deployment = a_deployment(
        wish.spec,
        uid=str(uuid4()),
        owner=Owner("https://op", "${attr.unique.hostname}"),
        owner_name=f"%{{ if true }}{BREAKOUT}",
    )
    template = case.cluster.parse_job((ETC / "job.nomad").read_text())
    return dict(render(deployment, template, Site(namespaces={VO: NAMESPACE})).job)


@pytest.mark.parametrize(
    "conf", [HARMLESS, HOSTILE, LONGEST], ids=["harmless", "hostile", "longest"]
)
def test_the_job_read_back_has_exactly_the_blocks_of_the_template(case: Case, conf):
    """C11, C14, C15, C16, C17, C18: nothing typed becomes a key, a block, a driver or a port."""
    job = rendered(case, conf)
    case.register(job)
    live = case.read(job)
    group, task = group_of(live), task_of(live)
    assert said(live) == JOB | BY_NOMAD
    assert set(live["Meta"]) == META
    assert said(group) == GROUP
    assert said(task) == TASK
    assert set(task["Config"]) == CONFIG
    assert set(task["Env"]) == ENV
    assert [t["Driver"] for t in group["Tasks"]] == ["docker"]
    assert [said(s) - {"Meta"} for s in group["Services"]] == [SERVICE] * 3
    assert [s["Name"] for s in group["Services"]] == [
        f"${{NOMAD_JOB_ID}}-{name}" for name in ("deepaas", "monitor", "lab")
    ]
    assert [t["DestPath"] for t in task["Templates"]] == ["secrets/ai4papi.env"]
    assert [said(network) for network in group["Networks"]] == [{"DynamicPorts"}]
    assert [c["LTarget"] for c in group["Constraints"]] == ["${attr.nomad.service_discovery}"]
    assert (live["NodePool"], live["Datacenters"], live["Priority"]) == ("default", ["*"], 50)


def test_what_was_typed_is_read_back_as_it_was_typed(case: Case):
    """C11: and what a token calls its owner can't be expanded."""
    job = rendered(case, HOSTILE)
    case.register(job)
    live = case.read(job)
    general, storage = HOSTILE["general"], HOSTILE["storage"]
    assert live["Meta"]["title"] == general["title"]
    assert live["Meta"]["description"] == general["desc"]
    assert live["UI"]["Description"] == f"{general['title']}\n\n{general['desc']}"
    env = task_of(live)["Env"]
    assert env["RCLONE_CONFIG"] == storage["rclone_conf"]
    assert env["RCLONE_CONFIG_RSHARE_URL"] == storage["rclone_url"]
    assert env["RCLONE_CONFIG_RSHARE_USER"] == storage["rclone_user"]
    for value in (*live["Meta"].values(), *env.values()):
        assert "${" not in value
        assert "%{" not in value


def test_the_longest_wish_is_a_small_job(case: Case):
    """C27: Nomad takes megabytes, and keeps each version of them in its log."""
    job = rendered(case, LONGEST)
    case.register(job)
    for told in (job, case.read(job)):
        assert len(json.dumps(told, ensure_ascii=False, default=str).encode()) <= MAX_JOB_BYTES
