"""The image, the compose file and the Nomad job, with a real Docker engine and a real Nomad."""

import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.authority import Authority
from tests.e2e.images import ROOT, platform_image, postgres_image, run
from tests.real import a_free_port, wait_until

pytestmark = pytest.mark.e2e

TOKEN = "e2e-local-token-0123456789"
SPEC = {
    "apiVersion": "ai4papi/v1",
    "kind": "Deployment",
    "metadata": {"name": "from-a-container"},
    "spec": {
        "general": {"docker_image": "deephdc/deep-oc-image-classification-tf:cpu"},
        "hardware": {"gpu_num": 0, "ram": 300, "disk": 300},
    },
}


@pytest.fixture(scope="module")
def platform(docker, tmp_path_factory) -> str:
    return platform_image(tmp_path_factory.mktemp("context"))


def call(url, method="GET", body=None, *, context=None):
    text = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=text, method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def runs_a_deployment(url, agent, name="from-a-container"):
    spec = {**SPEC, "metadata": {"name": name}}
    status, text = call(f"{url}/v1/specs/{name}", "PUT", spec)
    assert status == 201, text

    def phase():
        return json.loads(call(f"{url}/v1/specs/{name}/status")[1]).get("phase")

    wait_until(lambda: phase() == "Running", within_s=120, what=f"{name} in phase Running")
    uid = json.loads(call(f"{url}/v1/specs/{name}")[1])["metadata"]["uid"]
    (job,) = [j for j in agent.call("GET", "/v1/jobs?namespace=*") if j["ID"] == uid]
    assert job["Status"] == "running"
    assert call(f"{url}/v1/specs/{name}", "DELETE")[0] == 202
    wait_until(lambda: call(f"{url}/v1/specs/{name}")[0] == 404, within_s=120, what="gone")


@contextmanager
def container(platform, port, *, options=(), words=(), **environ):
    """The platform in a container on this machine's own network, read-only, as shipped."""
    settings = {
        "AI4PAPI_AUTH": "local",
        "AI4PAPI_LOCAL_TOKEN": TOKEN,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        **environ,
    }
    name = f"ai4papi-e2e-{port}"
    pairs = [word for key, value in settings.items() for word in ("-e", f"{key}={value}")]
    volume = f"{name}:/var/lib/ai4papi"
    hardened = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    run(
        *("docker", "run", "-d", "--name", name, "--network", "host", "-v", volume),
        *(*hardened, *pairs, *options, platform, *words),
    )
    try:
        yield name
    finally:
        print(run("docker", "logs", name)[-3000:])
        run("docker", "rm", "-f", "-v", name)
        run("docker", "volume", "rm", name)


def test_the_image_is_small_unprivileged_and_without_build_tools(platform):
    (image,) = json.loads(run("docker", "image", "inspect", platform))
    print(f"image: {image['Size'] / 1e6:.0f} MB")
    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["Healthcheck"]["Test"][0] == "CMD"
    told = run(
        *("docker", "run", "--rm", "--entrypoint", "sh", platform, "-c"),
        "id -u; for p in gcc cc make pip; do command -v $p; done; ls /src 2>&1; true",
    )
    assert told.splitlines()[0] == "10001"
    assert "/bin/" not in told


def test_the_container_starts_is_healthy_and_runs_work_on_nomad(platform, agent):
    port = a_free_port()
    url = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    with container(platform, port, NOMAD_ADDR=agent.address) as name:
        wait_until(lambda: call(f"{url}/livez")[0] == 200, within_s=120, what="the container")
        started_s = time.monotonic() - began
        print(f"start: {started_s:.1f} s from docker run to /livez")
        print(f"the container answered after {started_s:.1f} s")
        wait_until(lambda: call(f"{url}/readyz")[0] == 200, within_s=60, what="ready")
        run("docker", "exec", name, "/opt/ai4papi/bin/python", "/opt/ai4papi/healthcheck.py")
        runs_a_deployment(url, agent)
        assert "ai4papi_convergence_seconds" in call(f"{url}/metrics")[1]
        run("docker", "exec", name, "ai4papi", "backup", "/var/lib/ai4papi/copy")
        began = time.monotonic()
        run("docker", "stop", "-t", "40", name)
        print(f"stop: {time.monotonic() - began:.1f} s")
        (state,) = json.loads(run("docker", "inspect", name))
        assert state["State"]["ExitCode"] == 0


def test_the_container_serves_tls_from_mounted_files(platform, tmp_path):
    authority = Authority(tmp_path / "tls")
    (tmp_path / "tls").chmod(0o755)
    certificate, key = authority.issue("localhost", "127.0.0.1")
    for file in (certificate, key):
        shutil.chown(file, 10001)
    port = a_free_port()
    words = ("--ssl-keyfile", f"/tls/{key.name}", "--ssl-certfile", f"/tls/{certificate.name}")
    mounted = ("-v", f"{key.parent}:/tls:ro")
    context = ssl._create_unverified_context()
    with container(
        platform, port, options=mounted, words=words, AI4PAPI_CLUSTER="simulated"
    ) as name:
        url = f"https://127.0.0.1:{port}/livez"
        wait_until(lambda: call(url, context=context)[0] == 200, within_s=120, what="TLS")
        run("docker", "exec", name, "/opt/ai4papi/bin/python", "/opt/ai4papi/healthcheck.py")


STOP_ITSELF = """
import os
from reconciler.jobs import JobRef
from reconciler.runtime import open_cluster
from reconciler.settings import load_settings
open_cluster(load_settings(os.environ)).stop_job(JobRef("platform", "ai4papi"))
"""

OVERRIDE = """
version: "3.8"
services:
  postgres:
    network_mode: host
    environment: {{LISTEN: 127.0.0.1, PGPORT: "{pgport}"}}
  api:
    network_mode: host
    ports: []
    extra_hosts: []
    environment: {{HOST: 127.0.0.1, PORT: "{port}", AI4PAPI_LOCAL_TOKEN: {token}}}
"""


def test_the_compose_file_comes_up_with_postgresql_and_runs_work(platform, agent, tmp_path):
    """On this machine's network: a development Nomad listens on its loopback only."""
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("no `docker-compose` program")
    port, pgport = a_free_port(), a_free_port()
    secrets = tmp_path / "secrets"
    run("sh", ROOT / "docker/secrets.sh", secrets)
    url_file = secrets / "store_url"
    url_file.write_text(url_file.read_text().replace("@postgres/", f"@127.0.0.1:{pgport}/"))
    override = tmp_path / "override.yaml"
    override.write_text(
        "\n".join(
            # Lists are joined, not replaced: host networking takes neither ports nor hosts.
            line
            for line in OVERRIDE.format(port=port, pgport=pgport, token=TOKEN).splitlines()
            if not line.strip().startswith(("ports:", "extra_hosts:"))
        )
    )
    shipped = (ROOT / "docker/compose.yaml").read_text()
    here = tmp_path / "compose.yaml"
    here.write_text(
        "\n".join(
            line
            for line in shipped.replace("context: ..", f"context: {ROOT}").splitlines()
            if not line.strip().startswith(("ports:", "extra_hosts:"))
        )
    )
    environ = {
        **os.environ,
        "SECRETS": str(secrets),
        "AI4PAPI_IMAGE": platform,
        "POSTGRES_IMAGE": postgres_image(),
        "AI4PAPI_AUTH": "local",
        "NOMAD_ADDR": agent.address,
        "COMPOSE_PROJECT_NAME": f"ai4papi-e2e-{port}",
    }
    command = [compose, "-f", str(here), "-f", str(override)]
    url = f"http://127.0.0.1:{port}"
    try:
        run(*command, "up", "-d", "--no-build", env=environ)
        wait_until(lambda: call(f"{url}/readyz")[0] == 200, within_s=120, what="ready")
        runs_a_deployment(url, agent)
    finally:
        print(
            subprocess.run(
                [*command, "logs", "--no-color"],
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            ).stdout[-4000:]
        )
        run(*command, "down", "-v", env=environ)


def test_the_shipped_compose_file_is_valid(tmp_path):
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("no `docker-compose` program")
    run(compose, "-f", ROOT / "docker/compose.yaml", "config", "-q")


def test_the_platform_runs_on_nomad_itself_and_leaves_its_own_job_alone(platform, agent):
    """On the machine's network, with the local mode: what is new here is the job file."""
    nomad = shutil.which("nomad")
    environ = {**os.environ, "NOMAD_ADDR": agent.address}
    run(nomad, "namespace", "apply", "platform", env=environ)
    key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    run(
        *(nomad, "var", "put", "-namespace", "platform", "nomad/jobs/ai4papi"),
        *(f"secret_key={key}", "store_url=sqlite:////var/lib/ai4papi/ai4papi.db"),
        env=environ,
    )
    sets = {
        "image": platform,
        "nomad_addr": agent.address,
        "auth": "local",
        "host": "127.0.0.1",
        "network_mode": "host",
    }
    words = [word for name, value in sets.items() for word in ("-var", f"{name}={value}")]
    path = ROOT / "etc/nomad/ai4papi.nomad.hcl"
    run(nomad, "job", "run", "-detach", *words, path, env=environ)
    where = "namespace=platform"
    try:

        def allocation():
            found = agent.call("GET", f"/v1/job/ai4papi/allocations?{where}")
            return next((a for a in found if a["ClientStatus"] == "running"), None)

        wait_until(lambda: allocation() is not None, within_s=120, what="the platform's job")
        ports = agent.call("GET", f"/v1/allocation/{allocation()['ID']}?{where}")
        port = ports["AllocatedResources"]["Shared"]["Ports"][0]["Value"]
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: call(f"{url}/readyz")[0] == 200, within_s=120, what="ready")
        before = agent.call("GET", f"/v1/job/ai4papi?{where}")["JobModifyIndex"]
        inside = (nomad, "alloc", "exec", "-namespace", "platform", allocation()["ID"])
        command = [*inside, "/opt/ai4papi/bin/python", "-c", STOP_ITSELF]
        told = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert "never manages itself" in told.stderr + told.stdout
        assert agent.call("GET", f"/v1/job/ai4papi?{where}")["JobModifyIndex"] == before
    finally:
        run(
            *(nomad, "job", "stop", "-purge", "-detach", "-namespace", "platform", "ai4papi"),
            env=environ,
        )
