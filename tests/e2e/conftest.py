"""The real parts of the end-to-end tests: a Nomad with Docker driver, an image, our own server."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.server import Server
from tests.real import DevAgent, find_nomad, wait_until

IMAGE = "deephdc/deep-oc-image-classification-tf:cpu"

DEEP_START = """#!/bin/sh
# What the images of the marketplace are started with; here it serves what it was given.
mkdir -p /www && cd /www
printf '%s' "$jupyterPASSWORD" > password
printf '%s' "$RCLONE_CONFIG_RSHARE_PASS" > rclone
printf '%s' "$*" > service
case "$1" in
  --jupyterlab) port=8888 ;;
  *) port=5000 ;;
esac
exec httpd -f -p $port -h /www
"""


@pytest.fixture(scope="session")
def docker() -> None:
    """A Docker engine that answers; the machine's own, started by whoever runs the tests."""
    if shutil.which("docker") is None:
        pytest.skip("no `docker` program: install Debian's docker.io")
    run = subprocess.run(["docker", "version"], capture_output=True, check=False)
    if run.returncode != 0:
        pytest.skip("no Docker engine answers: start dockerd")


@pytest.fixture(scope="session")
def image(docker: None) -> str:
    """A real image under the name that the seed's example asks for: busybox and `deep-start`."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no `busybox` program: install Debian's busybox-static")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tree:
        _add(tree, "bin/busybox", Path(busybox).read_bytes(), mode=0o755)
        _add(tree, "bin/deep-start", DEEP_START.encode(), mode=0o755)
        for name in ("sh", "mkdir", "printf", "httpd", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tree.addfile(link)
    command = ["docker", "import", "--change", "ENV PATH=/bin", "-", IMAGE]
    subprocess.run(command, input=archive.getvalue(), check=True, capture_output=True)
    return IMAGE


@pytest.fixture(scope="session")
def device_plugin() -> Path | None:
    """The example device plugin of Nomad's own, where somebody put it; None where not."""
    beside = Path(find_nomad() or "").resolve().parent.parent / "plugins/nomad-device-example"
    given = os.environ.get("AI4PAPI_TEST_DEVICE_PLUGIN")
    path = Path(given) if given else beside
    return path if path.is_file() else None


@pytest.fixture(scope="module")
def agent(
    image: str, device_plugin: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevAgent]:
    """A Nomad that runs containers, with two devices where the example plugin is there."""
    home = tmp_path_factory.mktemp("agent")
    with agent_with_devices(DevAgent, home, device_plugin, ["gpu-1", "gpu-2"]) as started:
        yield started


@pytest.fixture(scope="module")
def etc(tmp_path_factory: pytest.TempPathFactory, device_plugin: Path | None) -> Path:
    """The shipped `etc/`, with the plugin's device in the place of the GPU."""
    return etc_with(tmp_path_factory.mktemp("etc"), device_plugin)


@pytest.fixture(scope="module")
def server(
    agent: DevAgent, etc: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Our server as its own process, on that Nomad, in local mode."""
    home = tmp_path_factory.mktemp("server")
    environ = {**os.environ, "NOMAD_ADDR": agent.address, "AI4PAPI_ETC": str(etc)}
    with Server(home, environ) as started:
        yield started


@contextmanager
def agent_with_devices(
    kind: type[DevAgent], home: Path, plugin: Path | None, devices: Sequence[str]
) -> Iterator[DevAgent]:
    """Run an agent with a healthy Docker driver; a device is a file in `home / "devices"`."""
    if find_nomad() is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN")
    folder = home / "devices"
    folder.mkdir()
    for name in devices:
        (folder / name).touch()
    more = ""
    if plugin is not None:
        more = f'plugin "{plugin.name}" {{\n  config {{\n    dir = "{folder}"\n'
        more += '    list_period = "1s"\n  }\n}\n'
    with kind(home, more=more, plugins=plugin and plugin.parent) as started:
        wait_until(lambda: _runs_containers(started), within_s=30, what="a healthy Docker driver")
        yield started


def etc_with(
    folder: Path,
    plugin: Path | None,
    *,
    main_conf: Mapping[str, str] = {},
    template: Mapping[str, str] = {},
) -> Path:
    """Copy the shipped `etc/` into `folder`, with these texts in the place of the shipped ones."""
    shutil.copytree(Path(__file__).parents[2] / "etc", folder, dirs_exist_ok=True)
    device = {} if plugin is None else {"device: nvidia/gpu": "device: nomad/file/mock"}
    for name, changes in (("main_conf.yaml", {**device, **main_conf}), ("job.nomad", template)):
        text = (folder / name).read_text()
        for shipped, ours in changes.items():
            assert shipped in text, f"{name} no longer says {shipped!r}"
            text = text.replace(shipped, ours)
        (folder / name).write_text(text)
    return folder


def _add(tree: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tree.addfile(entry, io.BytesIO(content))


def _runs_containers(agent: DevAgent) -> bool:
    drivers = agent.call("GET", "/v1/nodes")[0]["Drivers"]
    return bool(drivers.get("docker", {}).get("Healthy"))
