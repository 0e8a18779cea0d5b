"""From a module of the marketplace to work that runs, with nothing edited but the name."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.conftest import IMAGE, etc_with
from tests.e2e.deployments import job_of, running_allocation
from tests.real import wait_until

pytestmark = pytest.mark.e2e

MODULE = "deep-oc-image-classification-tf"


@pytest.fixture(scope="module")
def hub() -> Iterator[int]:
    """The tags of the image as Docker Hub tells them, from a port of this machine."""
    repository, _, tag = IMAGE.partition(":")

    class Tags(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.startswith(f"/v2/repositories/{repository}/tags")
            body = json.dumps({"next": None, "results": [{"name": tag}]}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Tags)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def etc(tmp_path_factory: pytest.TempPathFactory, device_plugin: Path | None, hub: int) -> Path:
    """The shipped `etc/` with its six modules, and Docker Hub on this machine."""
    return etc_with(
        tmp_path_factory.mktemp("etc"),
        device_plugin,
        main_conf={
            "hub: https://hub.docker.com": f"hub: http://127.0.0.1:{hub}",
            "- hub.docker.com\n": f"- 127.0.0.1:{hub}\n",
        },
    )


def test_what_new_prints_runs_with_another_name(server, agent):
    def listed() -> bool:
        return MODULE in server.cli("modules", "image", "--tag", "tensorflow", "-o", "name").stdout

    wait_until(listed, within_s=30, what="the catalogue")
    made = server.cli("new", MODULE)
    assert made.returncode == 0, made.stderr
    spec = re.sub(rf"(?m)^  name: {MODULE}$", "  name: my-classifier", made.stdout)
    assert spec != made.stdout
    (server.home / "spec.yaml").write_text(spec)
    applied = server.cli("apply", "-f", "spec.yaml", "--wait", "--timeout", "90s")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "deployment my-classifier is Running" in applied.stdout
    uid = server.call("GET", "/v1/specs/my-classifier")[1]["metadata"]["uid"]
    assert job_of(agent, uid)["TaskGroups"][0]["Tasks"][0]["Config"]["image"] == IMAGE
    assert running_allocation(agent, uid)

    title = {"title": "Ours now", "resources": {"ram": 12000}}
    assert server.call("PUT", f"/v1/modules/metadata/{MODULE}", title)[0] == 200
    assert server.call("GET", f"/v1/modules/metadata/{MODULE}")[1]["title"] == "Ours now"
    again = server.cli("apply", "-f", "spec.yaml")
    assert again.stdout == "deployment my-classifier unchanged\n", again.stderr
    assert running_allocation(agent, uid)["JobVersion"] == 0
    server.call("DELETE", "/v1/specs/my-classifier")
    wait_until(lambda: server.gone("my-classifier"), within_s=60)
