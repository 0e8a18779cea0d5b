"""The main job on a real Nomad with a real container, by every face."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.deployments import NS, live_allocations, manifest, put
from tests.e2e.server import TOKEN
from tests.real import wait_until

pytestmark = pytest.mark.e2e

HOSTILE = 'a"b\'c ${attr.unique.hostname} %{if} {{ env "PATH" }} $HOME `id` \\n'


def seed_example(device_plugin: Path | None) -> dict[str, dict[str, object]]:
    return {
        "general": {
            "docker_image": "deephdc/deep-oc-image-classification-tf:cpu",
            "service": "deepaas",
        },
        "hardware": {"gpu": 1 if device_plugin else 0, "ram": 300, "disk": 300},
    }


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_the_seeds_example_by_http_runs_answers_and_goes(server, agent, device_plugin):
    code, answer = server.call("POST", "/v1/deployments", seed_example(device_plugin))
    assert code == 200, answer
    uid = answer["job_ID"]

    def listed() -> dict[str, object]:
        return next(d for d in server.call("GET", "/v1/deployments")[1] if d["job_ID"] == uid)

    wait_until(lambda: listed()["status"] == "running", within_s=60, what="running")
    assert read(listed()["endpoints"]["deepaas"] + "/service") == "--deepaas"

    assert server.call("DELETE", f"/v1/deployments/{uid}")[0] == 200
    wait_until(
        lambda: server.call("GET", f"/v1/deployments/{uid}")[0] == 404, within_s=60, what="gone"
    )
    assert all(job["ID"] != uid for job in agent.call("GET", f"/v1/jobs?{NS}"))


def test_the_seeds_example_by_python_runs_and_goes(server, device_plugin):
    head = (
        "from types import SimpleNamespace\n"
        "from ai4papi.routers.v1 import deployments\n"
        f"authorization = SimpleNamespace(credentials={TOKEN!r})\n"
    )
    example = seed_example(device_plugin)
    made = server.python(
        head + f"import json\nmade = deployments.create_deployment(conf={example!r},"
        " authorization=authorization)\nprint(json.dumps(made))"
    )
    uid = json.loads(made)["job_ID"]

    def status() -> str:
        return str(server.call("GET", f"/v1/deployments/{uid}")[1]["status"])

    wait_until(lambda: status() == "running", within_s=60, what="running")
    listed = server.python(head + "print(deployments.get_deployments(authorization=authorization))")
    assert uid in listed
    server.python(head + f"deployments.delete_deployment({uid!r}, authorization=authorization)")
    wait_until(
        lambda: server.call("GET", f"/v1/deployments/{uid}")[0] == 404, within_s=60, what="gone"
    )


def test_the_seeds_example_as_a_file_with_the_command_line_runs_and_goes(server, device_plugin):
    example = seed_example(device_plugin)
    text = json.dumps({**manifest("seed"), "spec": example})
    done = server.cli("apply", "-f", "-", "--wait", "--timeout", "60", text=text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deepaas" in done.stdout
    assert read(server.status("seed")["endpoints"]["deepaas"] + "/service") == "--deepaas"
    done = server.cli("delete", "seed", "--wait", "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.gone("seed")


def test_passwords_reach_the_container_byte_for_byte(server):
    password, rclone = HOSTILE + "second line\nend", "p w" + HOSTILE
    put(
        server,
        "secrets",
        general={"service": "jupyterlab", "jupyter_password": password},
        storage={"rclone_password": rclone},
    )
    lab = server.wait_for("secrets", "Running")["endpoints"]["lab"]
    wait_until(lambda: read(lab + "/service") == "--jupyterlab", within_s=20)
    assert read(lab + "/password") == password
    assert read(lab + "/rclone") == rclone
    told = json.dumps(server.call("GET", "/v1/specs/secrets")[1])
    assert "unique.hostname" not in told
    server.call("DELETE", "/v1/specs/secrets")


def test_what_was_typed_for_the_storage_is_what_the_container_has(server, agent):
    """C11: for every text that is taken."""
    typed = {
        "rclone_conf": "/a b/{{ env `NOMAD_TOKEN` }}/$HOME/$NOMAD_ALLOC_ID/%HOME%",
        "rclone_url": """http://a"b'c\\n\\\\ `id` $(id) $$ $ { %% % { <<EOF #ü😀""",
        "rclone_user": '","privileged":true,"x":"}] } task "evil" {',
    }
    uid = put(server, "typed", storage=typed)
    server.wait_for("typed", "Running")
    (allocation,) = live_allocations(agent, uid)
    command = ["docker", "inspect", f"usertask-{allocation['ID']}"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    (container,) = json.loads(run.stdout)
    env = dict(pair.split("=", 1) for pair in container["Config"]["Env"])
    assert env["RCLONE_CONFIG"] == typed["rclone_conf"]
    assert env["RCLONE_CONFIG_RSHARE_URL"] == typed["rclone_url"]
    assert env["RCLONE_CONFIG_RSHARE_USER"] == typed["rclone_user"]
    assert container["HostConfig"]["Privileged"] is False
    server.call("DELETE", "/v1/specs/typed")


@pytest.mark.parametrize("field", ["title", "desc", "docker_image", "docker_tag"])
def test_what_nomad_would_expand_is_refused_with_a_pointer(server, field):
    body = manifest("hostile", general={field: "x${attr.unique.hostname}"})
    code, problem = server.call("PUT", "/v1/specs/hostile", body)
    assert code == 422
    assert {c["pointer"] for c in problem["causes"]} == {f"/spec/general/{field}"}


def test_quotes_and_blocks_in_a_title_arrive_as_text(server, agent):
    title = 'x" } job "evil" { #'
    uid = put(server, "quoted", general={"title": title})
    server.wait_for("quoted", "Running")
    job = agent.call("GET", f"/v1/job/{uid}?{NS}")
    assert job["Meta"]["title"] == title
    assert job["UI"]["Description"] == title
    assert [t["Name"] for t in job["TaskGroups"][0]["Tasks"]] == ["usertask"]
    server.call("DELETE", "/v1/specs/quoted")


def test_stopped_by_hand_it_runs_again_in_seconds_and_the_status_told_it(server, agent):
    uid = put(server, "stopped")
    server.wait_for("stopped", "Running")
    (before,) = live_allocations(agent, uid)
    agent.cli("job", "stop", "-namespace=ai4eosc", uid)

    def runs_again() -> bool:
        now = live_allocations(agent, uid)
        return (
            len(now) == 1 and now[0]["ID"] != before["ID"] and now[0]["ClientStatus"] == "running"
        )

    took_s = wait_until(runs_again, within_s=60, what="a new allocation")
    print(f"stopped by hand: running again after {took_s:.1f} s")
    server.wait_for("stopped", "Running")
    drifted = next(c for c in server.status("stopped")["conditions"] if c["type"] == "Drifted")
    assert (drifted["status"], drifted["reason"]) == ("False", "Repaired")
    assert "the job is stopped" in drifted["message"]
    server.call("DELETE", "/v1/specs/stopped")


def test_a_new_title_keeps_the_allocation_and_new_memory_makes_exactly_one(server, agent):
    uid = put(server, "edited", general={"title": "first"})
    server.wait_for("edited", "Running")
    (first,) = live_allocations(agent, uid)

    put(server, "edited", general={"title": "second"})
    wait_until(
        lambda: agent.call("GET", f"/v1/job/{uid}?{NS}")["UI"]["Description"] == "second",
        within_s=30,
        what="the new title",
    )
    server.wait_for("edited", "Running")
    assert [a["ID"] for a in live_allocations(agent, uid)] == [first["ID"]]

    put(server, "edited", general={"title": "second"}, hardware={"ram": 320})
    wait_until(
        lambda: [a["ID"] for a in live_allocations(agent, uid)] not in ([], [first["ID"]]),
        within_s=60,
        what="a new allocation",
    )
    server.wait_for("edited", "Running")
    everything = agent.call("GET", f"/v1/job/{uid}/allocations?{NS}")
    assert len(everything) == 2
    server.call("DELETE", "/v1/specs/edited")


def test_a_foreign_job_beside_ours_is_untouched(server, agent):
    task = {"Name": "t", "Driver": "mock_driver", "Config": {"run_for": "10m"}}
    task["Resources"] = {"CPU": 10, "MemoryMB": 10}
    groups = [{"Name": "g", "Count": 1, "Tasks": [task]}]
    meta = {"owner": "somebody", "managed_by": "somebody-else"}
    foreign = {"ID": "foreign", "Type": "service", "Namespace": "ai4eosc", "TaskGroups": groups}
    foreign |= {"Datacenters": ["*"], "Meta": meta}
    agent.call("POST", f"/v1/jobs?{NS}", {"Job": foreign})
    wait_until(lambda: len(live_allocations(agent, "foreign")) == 1, within_s=30)
    before = agent.call("GET", f"/v1/job/foreign?{NS}")
    put(server, "beside")
    server.wait_for("beside", "Running")
    server.call("DELETE", "/v1/specs/beside")
    wait_until(lambda: server.gone("beside"), within_s=60)
    after = agent.call("GET", f"/v1/job/foreign?{NS}")
    untouched = ("JobModifyIndex", "Version", "Meta", "TaskGroups", "Stop")
    assert {k: after[k] for k in untouched} == {k: before[k] for k in untouched}
    agent.call("DELETE", f"/v1/job/foreign?{NS}&purge=true")
