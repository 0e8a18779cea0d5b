"""Measure everything, print a table, write JSON: `make bench [OUT=file.json] [QUICK=1]`."""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import nomad
import requests

from reconciler.cluster.access import PER_PAGE
from reconciler.render import render
from reconciler.runtime import Runtime
from tests.bench.catalogue import cold_catalogue
from tests.bench.commits import commits
from tests.bench.figures import Figure, table, write_json
from tests.bench.modules import MODULES, NAME
from tests.bench.site import fill, open_site
from tests.provider import Provider
from tests.real import NAMESPACES, DevAgent, a_free_port, find_nomad, wait_until

ROOT = Path(__file__).parents[2]
THREADS = (4, 8, 16)
ROUNDS = 5


class WireCount:
    """Counts the HTTP requests that this process sends, by method and path's first words."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._send = requests.Session.send

    def __enter__(self) -> "WireCount":
        send, calls = self._send, self.calls

        def counted(session: requests.Session, request: requests.PreparedRequest, **kw: object):  # type: ignore[no-untyped-def]
            calls.append(f"{request.method} {request.path_url.split('?')[0]}")
            return send(session, request, **kw)  # type: ignore[arg-type]

        requests.Session.send = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        requests.Session.send = self._send  # type: ignore[method-assign]


def main() -> int:
    """Run every figure; 0 when all ran and none that must hold was missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--git", action="store_true", help="only what is declared in git")
    options = parser.parse_args()
    rounds = 1 if options.quick else 3
    with tempfile.TemporaryDirectory() as folder:
        figures = []
        if find_nomad() is None:
            print("no `nomad` on PATH: figures that need it are left out", flush=True)
        else:
            with DevAgent(Path(folder) / "git-agent") as agent:
                agent.refuse_work()
                print(f"on a real {agent.version} of this run's own", flush=True)
                figures += declared_in_git(
                    Path(folder) / "git", agent, 200 if options.quick else 2000
                )
        if not options.git:
            figures += others(Path(folder), rounds, quick=options.quick)
    print(table(figures))
    if options.out:
        write_json(figures, options.out)
    missed = [figure for figure in figures if figure.ok is False]
    for figure in missed:
        print(f"missed: {figure.name} is {figure.value:g}, not {figure.goal}")
    return 1 if missed else 0


def others(folder: Path, rounds: int, *, quick: bool) -> list[Figure]:
    """Every figure that has nothing to do with git."""
    figures = []
    if find_nomad() is not None:
        with DevAgent(folder / "agent") as agent:
            agent.refuse_work()
            figures += converge(folder, agent, 200 if quick else 500, rounds)
        for count in (100, 1000) if quick else (100, 1000, 5000):
            with DevAgent(folder / f"agent-{count}") as agent:
                agent.refuse_work()
                figures += quiet_pass(folder / f"quiet-{count}", agent, count)
    figures += status_rate(folder / "status", rounds)
    figures += catalog_rate(folder / "catalog", rounds)
    figures += door_rate(folder / "door", 4 + 4 * rounds)
    return figures + cold_catalogue(rounds)


def declared_in_git(folder: Path, agent: DevAgent, count: int) -> list[Figure]:
    """From the push to the jobs, beside git and the bare client."""

    def bare_rate(jobs: Sequence[Mapping[str, object]]) -> float:
        return max(_bare_rate(agent, list(map(dict, jobs)), threads) for threads in THREADS)

    return commits(folder, agent, count, prepared=_prepared, bare_rate=bare_rate)


def converge(folder: Path, agent: DevAgent, count: int, rounds: int) -> list[Figure]:
    """New specs to registered jobs, a second; the floor registers the same jobs, prepared."""
    ours, floors = [], []
    for number in range(rounds):
        home = folder / f"converge-{number}"
        home.mkdir()
        with open_site(home, agent.address) as runtime:
            uids = fill(runtime, count, prefix=f"r{number}")
            jobs = [_prepared(runtime, uid) for uid in uids]
            # The bare client goes first in one round and second in the next.
            if number % 2:
                ours.append(_converged_rate(runtime, count))
            floors.append(max(_bare_rate(agent, jobs, threads) for threads in THREADS))
            if not number % 2:
                ours.append(_converged_rate(runtime, count))
            tell(f"round {number}: {ours[-1]:.0f} specs/s, bare client {floors[-1]:.0f}/s")
    name = f"converge {count} new specs"
    return [Figure(name, "specs/s", tuple(ours), tuple(floors), goal="≥ 0.80")]


def _prepared(runtime: Runtime, uid: str) -> dict[str, object]:
    deployment = runtime.store.get(uid)
    assert deployment is not None
    return dict(
        render(deployment, runtime.targets[0].template(), runtime.targets[0].reconciler.site).job
    )


def _bare_rate(agent: DevAgent, jobs: list[dict[str, object]], threads: int) -> float:
    batch = [{**job, "ID": str(uuid.uuid4())} for job in jobs]
    here = threading.local()

    def register(job: dict[str, object]) -> None:
        if not hasattr(here, "client"):
            here.client = nomad.Nomad(address=agent.address, namespace=job["Namespace"], timeout=60)
        here.client.jobs.register_job({"Job": job, "EnforceIndex": True, "JobModifyIndex": 0})

    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(register, batch))
    rate = len(batch) / (time.monotonic() - began)
    _purge(agent, [str(job["ID"]) for job in batch], str(jobs[0]["Namespace"]))
    return rate


def _purge(agent: DevAgent, ids: list[str], namespace: str) -> None:
    def purge(job_id: str) -> None:
        options = {"purge": "true", "namespace": namespace}
        requests.delete(f"{agent.address}/v1/job/{job_id}", params=options, timeout=60)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(purge, ids))


def _converged_rate(runtime: Runtime, count: int) -> float:
    began = time.monotonic()
    runtime.start()
    wait_until(lambda: _applied(runtime) >= count, within_s=300, every_s=0.1)
    return count / (time.monotonic() - began)


def _applied(runtime: Runtime) -> int:
    return sum(head.applied_index > 0 for head in runtime.store.heads())


def quiet_pass(home: Path, agent: DevAgent, count: int) -> list[Figure]:
    """A full pass with nothing to do: seconds beside one list read and decoded; its calls, each of
    which must be a read; and the evaluations that it made Nomad write, which must be none."""
    home.mkdir()
    with open_site(home, agent.address) as runtime:
        fill(runtime, count, prefix="q")
        runtime.start()
        wait_until(lambda: _settled(runtime, count), within_s=600, every_s=0.2)
        wait_until(lambda: runtime.targets[0].resync.run_once() == 0, within_s=120, every_s=1)
        before = _newest_evaluation(agent)
        with WireCount() as wire:
            passes = [_seconds(runtime.targets[0].resync.run_once) for _ in range(ROUNDS)]
            wait_until(lambda: _settled(runtime, count), within_s=60)
        evaluations = _newest_evaluation(agent) - before
        calls = len(wire.calls) / ROUNDS
        floors = [_seconds(runtime.targets[0].cluster.list_jobs) for _ in range(ROUNDS)]
        tell(f"quiet pass at {count}: calls {sorted(set(wire.calls))}, {calls:g} each")
    reads_only = all(call.startswith("GET ") for call in wire.calls)
    # Each namespace has its pages, and every deployment is in one of them.
    most = math.ceil(count / PER_PAGE) + len(NAMESPACES)
    name = f"pass with nothing to do, {count} deployments"
    return [
        Figure(name, "s", tuple(passes), tuple(floors), goal="≤ 2"),
        Figure(
            f"{name}: calls",
            "calls",
            (calls,),
            goal=f"≤ {most}, ceil(N/page) + namespaces, all of them reads",
            ok=calls <= most and reads_only,
        ),
        Figure(
            f"{name}: moves of the index of Nomad's evaluations",
            "moves",
            (evaluations,),
            goal="0: no evaluation was written",
            ok=evaluations == 0,
        ),
    ]


def _newest_evaluation(agent: DevAgent) -> int:
    """Return the index at which Nomad last wrote an evaluation, of whatever job."""
    options = {"namespace": "*", "per_page": 1}
    answer = requests.get(f"{agent.address}/v1/evaluations", params=options, timeout=60)
    return int(answer.headers["X-Nomad-Index"])


def _settled(runtime: Runtime, count: int) -> bool:
    state = runtime.targets[0].queue.state()
    return _applied(runtime) >= count and not (state.waiting or state.working or state.delayed)


def _seconds(run: Callable[[], object]) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


def status_rate(home: Path, rounds: int) -> list[Figure]:
    """`GET …/status` a second, beside an empty FastAPI route on the same kind of server."""
    home.mkdir()
    port, empty_port = a_free_port(), a_free_port()
    environ = {**os.environ, "AI4PAPI_AUTH": "local", "AI4PAPI_LOCAL_TOKEN": "bench-token-bench"}
    environ |= {"AI4PAPI_STORE_URL": f"sqlite:///{home}/ai4papi.db", "AI4PAPI_CLUSTER": "simulated"}
    server = [sys.executable, "-m", "api.serve", "--host", "127.0.0.1", "--port", str(port)]
    empty = [sys.executable, "-m", "tests.bench.empty", str(empty_port)]
    with OwnProcess(server, environ), OwnProcess(empty, environ):
        base = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(f"{base}/readyz"), within_s=60)
        wait_until(lambda: _answers(f"http://127.0.0.1:{empty_port}/"), within_s=60)
        manifest = {"apiVersion": "ai4papi/v1", "kind": "Deployment"}
        manifest |= {"metadata": {"name": "bench"}, "spec": {}}
        headers = {"Authorization": "Bearer bench-token-bench"}
        requests.put(f"{base}/v1/specs/bench", json=manifest, headers=headers, timeout=10)
        wait_until(lambda: _running(base, headers), within_s=60)
        ours, floors = [], []
        for _ in range(rounds):
            floors.append(_load(empty_port, "/"))
            ours.append(_load(port, "/v1/specs/bench/status"))
    return [Figure("GET …/status", "requests/s", tuple(ours), tuple(floors), goal="≥ 0.5")]


def door_rate(home: Path, rounds: int) -> list[Figure]:
    """`GET …/status` a second with a known OIDC token, beside a door that lets everybody in.

    The requests are the same to the byte; every other round takes the two in the other order.
    """
    home.mkdir()
    ports = {"oidc": a_free_port(), "open": a_free_port()}
    rates: dict[str, list[float]] = {"oidc": [], "open": []}
    with ExitStack() as stack:
        provider = stack.enter_context(Provider(home))
        token = provider.mint(iat=int(time.time()), exp=int(time.time()) + 3600)
        headers = {"Authorization": f"Bearer {token}"}
        environ = {**os.environ, "SSL_CERT_FILE": str(provider.ca_file)}
        for door, port in ports.items():
            command = [sys.executable, "-m", "tests.bench.doors", str(home / door), str(port)]
            command += [provider.issuer] if door == "oidc" else []
            stack.enter_context(OwnProcess(command, environ))
            base = f"http://127.0.0.1:{port}"
            wait_until(lambda base=base: _answers(f"{base}/readyz"), within_s=60)  # type: ignore[misc]
            manifest = {"apiVersion": "ai4papi/v1", "kind": "Deployment"}
            manifest |= {"metadata": {"name": "bench"}, "spec": {}}
            requests.put(f"{base}/v1/specs/bench", json=manifest, headers=headers, timeout=10)
            wait_until(lambda base=base: _running(base, headers), within_s=60)  # type: ignore[misc]
        for number in range(rounds):
            for door in list(ports)[:: -1 if number % 2 else 1]:
                rate = _load(ports[door], "/v1/specs/bench/status", token, seconds=1)
                rates[door].append(rate)
    name = "GET …/status with a known token"
    ours, floors = tuple(rates["oidc"]), tuple(rates["open"])
    return [Figure(name, "requests/s", ours, floors, goal="≥ 0.9")]


def catalog_rate(home: Path, rounds: int) -> list[Figure]:
    """The lists of 500 modules and one module a second, warm, beside an empty FastAPI route."""
    port, empty_port = a_free_port(), a_free_port()
    ours = [sys.executable, "-m", "tests.bench.modules", str(home), str(port)]
    empty = [sys.executable, "-m", "tests.bench.empty", str(empty_port)]
    paths = ("/v1/modules", "/v1/modules/summary", f"/v1/modules/metadata/{NAME.format(7)}")
    rates: dict[str, list[float]] = {path: [] for path in paths}
    floors = []
    with OwnProcess(ours, {**os.environ}), OwnProcess(empty, {**os.environ}):
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/v1/modules"), within_s=60)
        wait_until(lambda: _answers(f"http://127.0.0.1:{empty_port}/"), within_s=60)
        for _ in range(rounds):
            floors.append(_load(empty_port, "/"))
            for path in paths:
                rates[path].append(_load(port, path))
    shown = dict(zip(paths, ("/v1/modules", "/v1/modules/summary", "…/metadata/NAME"), strict=True))
    return [
        Figure(f"GET {shown[path]} of {MODULES}", "requests/s", tuple(rates[path]), tuple(floors))
        for path in paths
    ]


def _load(port: int, path: str, token: str = "bench-token-bench", *, seconds: int = 4) -> float:
    command = [sys.executable, "-m", "tests.bench.load", "127.0.0.1", str(port), path]
    run = subprocess.run(
        [*command, token, str(seconds)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return float(json.loads(run.stdout))


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def _running(base: str, headers: dict[str, str]) -> bool:
    answer = requests.get(f"{base}/v1/specs/bench/status", headers=headers, timeout=5)
    return bool(answer.ok and answer.json()["phase"] == "Running")


class OwnProcess:
    """A process of this run's own, ended with it."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
