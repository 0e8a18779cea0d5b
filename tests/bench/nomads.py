"""A Nomad of a group's own whose nodes take no work: a real one where there is one.

Else it is the simulator at a port, which answers the same calls. Jobs are registered, evaluated and
wait: what is measured is what lies between a spec and its job, not containers.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.bench.processes import OwnProcess, await_answer
from tests.real import NAMESPACES, DevAgent, a_free_port, find_nomad, wait_until


def named() -> str:
    """Return what the figures of this run are measured on."""
    program = find_nomad()
    if program is None:
        return "the simulator, served at a port: there is no `nomad` on PATH"
    run = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    return f"a real {run.stdout.splitlines()[0]} of this run's own"


@contextmanager
def a_nomad(folder: Path) -> Iterator[str]:
    """Run one in `folder`, which is made; give its address."""
    folder.mkdir(parents=True)
    if find_nomad() is None:
        with _simulated() as address:
            yield address
    else:
        with DevAgent(folder) as agent:
            refuse_work(agent.address)
            yield agent.address


def refuse_work(address: str) -> None:
    """Make every node take no work."""
    for node in requests.get(f"{address}/v1/nodes", timeout=60).json():
        body = {"NodeID": node["ID"], "Eligibility": "ineligible"}
        url = f"{address}/v1/node/{node['ID']}/eligibility"
        requests.post(url, json=body, timeout=60).raise_for_status()


def evaluations_index(address: str) -> int:
    """Return the index at which Nomad last wrote an evaluation, of whatever job."""
    options: dict[str, str | int] = {"namespace": "*", "per_page": 1}
    answer = requests.get(f"{address}/v1/evaluations", params=options, timeout=60)
    return int(answer.headers["X-Nomad-Index"])


def await_scheduler(address: str) -> None:
    """Wait until Nomad's scheduler has nothing to do, so that it takes no time of the next one."""
    wait_until(lambda: not _pending(address), within_s=300, what="an idle scheduler")


def _pending(address: str) -> bool:
    options: dict[str, str | int] = {"namespace": "*", "status": "pending", "per_page": 1}
    return bool(requests.get(f"{address}/v1/evaluations", params=options, timeout=60).json())


@contextmanager
def _simulated() -> Iterator[str]:
    port = a_free_port()
    command = [sys.executable, "-m", "reconciler.cluster.simulator", "--port", str(port)]
    with OwnProcess(command):
        address = f"http://127.0.0.1:{port}"
        await_answer(f"{address}/v1/nodes")
        for name in NAMESPACES:
            url = f"{address}/v1/namespace/{name}"
            requests.post(url, json={"Name": name}, timeout=10).raise_for_status()
        refuse_work(address)
        yield address
