"""Real components for tests: a Nomad agent of this run's own, on free loopback ports.

`nomad` comes from NOMAD_BIN or PATH. A development agent has its state in memory and ends what it
started when it is stopped; a kept agent has its state on disk and can be started again from it.
Both are stopped with SIGTERM, as an operator would.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tests.authority import Authority

NAMESPACES: Final = ("ai4eosc", "imagine")

TERMINAL: Final = frozenset({"complete", "failed", "lost"})
"""Client statuses of an allocation of which nothing runs any more."""

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


TLS: Final = """
tls {{
  http                   = true
  rpc                    = true
  verify_server_hostname = true
  verify_https_client    = true
{files}
}}
"""

ACLS: Final = """
acl {
  enabled = true
}
"""

ADVERTISE: Final = """
# Outside -dev a loopback address must be said aloud.
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
disable_update_check = true
"""

KEPT_SERVER: Final = (
    ADVERTISE
    + """
server {
  enabled          = true
  bootstrap_expect = 1
  raft_multiplier  = 1
}
"""
)

KEPT_CLIENT: Final = (
    ADVERTISE
    + """
client {
  enabled = true
  servers = ["127.0.0.1:%d"]
}

plugin "raw_exec" {
  config {
    enabled = true
  }
}
"""
)


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


def unmount(home: Path) -> None:
    """Take down what an agent mounted for its tasks: it leaves the last of them behind."""
    mounts = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    for mount in mounts:
        if mount.startswith(f"{home}/"):
            subprocess.run(["umount", mount], check=True)


class DevAgent:
    """A `nomad agent -dev` of our own; start it with `with`, or `start` and `stop` by hand."""

    def __init__(self, home: Path, *, more: str = "", plugins: Path | None = None) -> None:
        self._home = home
        self._more = more
        self._plugins = plugins or home / "plugins"
        self._ports = {kind: a_free_port() for kind in ("http", "rpc", "serf")}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.token = ""
        self.tls: ssl.SSLContext | None = None

    @property
    def address(self) -> str:
        """Where it answers."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self._ports['http']}"

    @property
    def version(self) -> str:
        """What the program calls itself, such as `Nomad v2.0.5`."""
        run = subprocess.run(
            [find_nomad() or "", "version"], capture_output=True, text=True, check=True
        )
        return run.stdout.splitlines()[0]

    def start(self) -> None:
        """Start the agent and wait until it has a leader and a ready node."""
        self._launch("agent", "-dev", ports=self._ports, more=self._more)
        self._await_node()

    def stop(self) -> None:
        """End the agent as an operator would."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call Nomad's HTTP API as somebody else would; return the decoded answer."""
        text = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=text, method=method)
        request.add_header("X-Nomad-Token", self.token)
        with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
            read = answer.read()
        return json.loads(read) if read.strip().startswith((b"{", b"[", b'"')) else read.decode()

    def cli(self, *words: str) -> str:
        """Run Nomad's own command line against this agent; return what it printed."""
        run = subprocess.run(
            [find_nomad() or "", *words],
            capture_output=True,
            text=True,
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "NOMAD_ADDR": self.address,
                "NOMAD_TOKEN": self.token,
            },
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

    def _launch(self, name: str, *options: str, ports: Mapping[str, int], more: str) -> None:
        """Start a process of Nomad; `name` is that of its files."""
        (self._home / "plugins").mkdir(parents=True, exist_ok=True)
        config = self._home / f"{name}.hcl"
        data = self._home / f"{name}-data"
        config.write_text(CONFIG.format(data=data, plugins=self._plugins, more=more, **ports))
        with (self._home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [find_nomad() or "", "agent", *options, "-config", str(config)],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(self._home)},
            )
        self._processes.append(process)

    def _await_node(self) -> None:
        wait_until(self._ready, within_s=60, what="a ready Nomad node")
        for namespace in NAMESPACES:
            self.call("POST", f"/v1/namespace/{namespace}", {"Name": namespace})

    def _ready(self) -> bool:
        try:
            nodes = self.call("GET", "/v1/nodes")
        except (urllib.error.URLError, OSError):
            return False
        return any(node["Status"] == "ready" for node in nodes)


class TlsAgent(DevAgent):
    """A development agent that speaks TLS only, to those who show a certificate of its authority.

    As Nomad's certificates do, its own names the server's role and `localhost`, not the address.
    """

    def __init__(self, home: Path, authority: Authority) -> None:
        certificate, key = authority.issue("server.global.nomad", "localhost")
        files = {"ca_file": authority.file, "cert_file": certificate, "key_file": key}
        lines = "\n".join(f'  {name} = "{file}"' for name, file in files.items())
        super().__init__(home, more=TLS.format(files=lines))
        self.tls = ssl.create_default_context(cafile=str(authority.file))
        self.tls.check_hostname = False
        self.tls.load_cert_chain(*authority.issue("cli.global.nomad"))


class GuardedAgent(DevAgent):
    """A development agent with ACLs on; `token` may do everything."""

    def __init__(self, home: Path, *, more: str = "", plugins: Path | None = None) -> None:
        super().__init__(home, more=more + ACLS, plugins=plugins)

    def token_for(self, rules: str, *, kind: str = "client", **options: object) -> dict[str, Any]:
        """Make a token that may do what these rules say, and nothing else."""
        name = f"policy-{uuid.uuid4()}"
        self.call("POST", f"/v1/acl/policy/{name}", {"Name": name, "Rules": rules})
        body = {"Name": name, "Type": kind, "Policies": [name], **options}
        made: dict[str, Any] = self.call("POST", "/v1/acl/token", body)
        return made

    def _ready(self) -> bool:
        if not self.token:
            try:
                self.token = self.call("POST", "/v1/acl/bootstrap")["SecretID"]
            except (urllib.error.URLError, OSError):
                return False
        return super()._ready()


class KeptAgent(DevAgent):
    """A Nomad whose state outlives it: after `stop`, `start` goes on from its data.

    A server and a client, each its own process: a client inside the server's asks before there is a
    leader, is refused, and comes back after half a minute. What runs goes on running while they are
    stopped, as on any cluster; leaving `with` ends it, so that no logmon or mount is left behind.
    """

    def __init__(self, home: Path, *, more: str = "", plugins: Path | None = None) -> None:
        super().__init__(home, more=more, plugins=plugins)
        self._client_ports = {kind: a_free_port() for kind in self._ports}

    def start(self) -> None:
        """Start the server, then the client; go on from what they had when they were stopped."""
        self._launch("server", ports=self._ports, more=KEPT_SERVER)
        wait_until(self._leads, within_s=60, what="a leader with its keys")
        client = self._more + KEPT_CLIENT % self._ports["rpc"]
        self._launch("client", ports=self._client_ports, more=client)
        self._await_node()

    def __exit__(self, *_: object) -> None:
        if not self._processes:
            self.start()
        self._end_all_work()
        self.stop()

    def _leads(self) -> bool:
        try:
            return bool(self.call("GET", "/.well-known/jwks.json")["keys"])
        except (urllib.error.URLError, OSError):
            return False

    def _end_all_work(self) -> None:
        for job in self.call("GET", "/v1/jobs?namespace=*"):
            place = f"namespace={job['Namespace']}&purge=true"
            self.call("DELETE", f"/v1/job/{quote(job['ID'], safe='')}?{place}")
        wait_until(self._nothing_runs, within_s=60, what="the end of every allocation")
        # The client unmounts an allocation's folders when the servers have forgotten it.
        self.call("PUT", "/v1/system/gc")
        wait_until(self._nothing_mounted, within_s=30, what="no mount left")

    def _nothing_runs(self) -> bool:
        allocations = self.call("GET", "/v1/allocations?namespace=*")
        return all(allocation["ClientStatus"] in TERMINAL for allocation in allocations)

    def _nothing_mounted(self) -> bool:
        return str(self._home) not in Path("/proc/mounts").read_text()
