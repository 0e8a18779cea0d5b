"""What stands around the recorded cases: an image, a registry, and a node that can be lost."""

import http.server
import io
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.real import DevAgent, find_nomad
from tests.recorded.cases import IMAGE, LOST_NODE, NODE, REGISTRY

AGENT: Final = """
name = "{name}"
server {{
  heartbeat_grace   = "5s"
  min_heartbeat_ttl = "5s"
}}
plugin "nomad-device-example" {{
  config {{
    dir         = "{devices}"
    list_period = "1s"
  }}
}}
"""
CLIENT: Final = """
name      = "{name}"
bind_addr = "127.0.0.1"
data_dir  = "{home}/client"
ports {{
  http = 41998
}}
advertise {{
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}}
client {{
  enabled          = true
  servers          = ["127.0.0.1:{rpc}"]
  min_dynamic_port = 20000
  max_dynamic_port = 20003
  options {{
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }}
}}
"""


class Registry(http.server.BaseHTTPRequestHandler):
    """A registry that has no image; asked for a `slow` one it never answers."""

    def do_GET(self) -> None:
        if "/slow/" in self.path:
            threading.Event().wait()
        body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
        self.send_response(200 if self.path == "/v2/" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Leave the terminal to the recorder."""


def make_image() -> None:
    """Make `IMAGE`: busybox under the names that the scripts use."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tree:
        tree.add(shutil.which("busybox") or "", "bin/busybox")
        for name in ("sh", "sleep", "tail"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tree.addfile(link)
    command = ["docker", "import", "--change", "ENV PATH=/bin", "-", IMAGE]
    subprocess.run(command, input=archive.getvalue(), check=True, capture_output=True)


def remove_containers() -> None:
    """Remove the containers that the killed client left behind."""
    listed = ["docker", "ps", "--all", "--quiet", "--filter", f"ancestor={IMAGE}"]
    left = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    if left:
        subprocess.run(["docker", "rm", "--force", *left], check=True, capture_output=True)


@contextmanager
def second_client(agent: DevAgent, home: Path) -> Iterator[None]:
    """A node that is lost at the end of the block: its client is killed, its server lives on."""
    rpc = agent.call("GET", "/v1/agent/self")["config"]["Ports"]["RPC"]
    config = home / "client.hcl"
    config.write_text(CLIENT.format(name=LOST_NODE, home=home, rpc=rpc))
    command = [find_nomad() or "", "agent", "-config", str(config)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    with (
        (home / "client.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environ) as process,
    ):
        try:
            yield
        finally:
            process.kill()


def agent_config(home: Path) -> str:
    """Return what the agent's configuration needs: a name, patience of seconds, two devices."""
    devices = home / "devices"
    devices.mkdir()
    for number in (1, 2):
        (devices / f"gpu-{number}").touch()
    return AGENT.format(name=NODE, devices=devices)


def serve_registry() -> None:
    """Serve `Registry` until the process ends."""
    host, port = REGISTRY.split(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Registry)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
