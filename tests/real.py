"""Real components for tests: a Nomad agent of this run's own, on free loopback ports.

`nomad` comes from NOMAD_BIN or PATH. Agents are development agents: state in memory, gone when
stopped. Stopped with SIGTERM, so that they end what they started.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

NAMESPACES: Final = ("ai4eosc", "imagine")

CONFIG: Final = """
bind_addr = "127.0.0.1"
log_level = "WARN"
data_dir  = "{data}"
plugin_dir = "{plugins}"

ports {{
  http = {http}
  rpc  = {rpc}
  serf = {serf}
}}

client {{
  options {{
    # Cloud metadata services do not answer on a test machine, and each costs seconds.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }}
  # More than the machine has, so that thousands of small jobs fit.
  cpu_total_compute = 1000000
  memory_total_mb   = 4000000
  gc_interval       = "10m"
}}

limits {{
  http_max_conns_per_client = 400
}}

plugin "docker" {{
  config {{
    gc {{
      image = false
    }}
  }}
}}
{more}
"""


def find_nomad() -> str | None:
    """Return the path of the `nomad` program, or None where there is none."""
    return os.environ.get("NOMAD_BIN") or shutil.which("nomad")


def a_free_port() -> int:
    """Return a loopback port that nobody listens on at the moment."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def wait_until(
    true: Callable[[], bool], *, within_s: float, every_s: float = 0.1, what: str = "it"
) -> float:
    """Ask again and again until the answer is yes; return the seconds it took.

    Raises: TimeoutError.
    """
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"{what} did not come true within {within_s} s")
        time.sleep(every_s)
    return time.monotonic() - began


class DevAgent:
    """A `nomad agent -dev` of our own; start it with `with`, or `start` and `stop` by hand."""

    def __init__(self, home: Path, *, more: str = "", plugins: Path | None = None) -> None:
        self._home = home
        self._more = more
        self._plugins = plugins or home / "plugins"
        self._ports = {kind: a_free_port() for kind in ("http", "rpc", "serf")}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._ports['http']}"

    @property
    def version(self) -> str:
        """What the program calls itself, such as `Nomad v2.0.5`."""
        run = subprocess.run(
            [find_nomad() or "", "version"], capture_output=True, text=True, check=True
        )
        return run.stdout.splitlines()[0]

    def start(self) -> None:
        """Start the agent and wait until it has a leader and a ready node."""
        (self._home / "plugins").mkdir(parents=True, exist_ok=True)
        config = self._home / "agent.hcl"
        text = CONFIG.format(
            data=self._home / "data", plugins=self._plugins, more=self._more, **self._ports
        )
        config.write_text(text)
        with (self._home / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(
                [find_nomad() or "", "agent", "-dev", "-config", str(config)],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(self._home)},
            )
        wait_until(self._ready, within_s=60, what="a ready Nomad node")
        for namespace in NAMESPACES:
            self.call("POST", f"/v1/namespace/{namespace}", {"Name": namespace})

    def stop(self) -> None:
        """End the agent as an operator would."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call Nomad's HTTP API as somebody else would; return the decoded answer."""
        text = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=text, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            read = answer.read()
        return json.loads(read) if read.strip().startswith((b"{", b"[", b'"')) else read.decode()

    def cli(self, *words: str) -> str:
        """Run Nomad's own command line against this agent; return what it printed."""
        run = subprocess.run(
            [find_nomad() or "", *words],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "NOMAD_ADDR": self.address},
        )
        return run.stdout + run.stderr

    def refuse_work(self) -> None:
        """Make the node take no work: jobs are registered, evaluated and wait, and none runs."""
        (node,) = self.call("GET", "/v1/nodes")
        body = {"NodeID": node["ID"], "Eligibility": "ineligible"}
        self.call("POST", f"/v1/node/{node['ID']}/eligibility", body)

    def __enter__(self) -> "DevAgent":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ready(self) -> bool:
        try:
            nodes = self.call("GET", "/v1/nodes")
        except (urllib.error.URLError, OSError):
            return False
        return any(node["Status"] == "ready" for node in nodes)
