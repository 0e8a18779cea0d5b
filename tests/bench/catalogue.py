"""A catalogue of 500 modules: read cold beside the bare downloads, and served warm."""

import contextlib
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import requests

from reconciler.catalog.hosts import Hosts
from reconciler.catalog.http import Http
from reconciler.catalog.lists import ListReader, Pace
from reconciler.catalog.sources import FORMS
from tests.bench.figures import Figure
from tests.bench.modules import MODULES, NAME
from tests.bench.place import Place
from tests.bench.processes import OwnProcess, await_answer, empty_server
from tests.bench.reads import load
from tests.catalog_server import name_of
from tests.real import a_free_port

CONCURRENCY = 16
DELAY_S = 0.02
SECONDS = 4
SERVE = f"""
from tests.catalog_server import CatalogServer
with CatalogServer({MODULES}, delay_s={DELAY_S}) as server:
    server.branches = dict.fromkeys(server.names, "main")
    print(server.port, flush=True)
    input()
"""


def measure(place: Place) -> list[Figure]:
    """Measure a cold catalogue, and the lists of a warm one."""
    return [*cold_catalogue(place.rounds), *_lists(place)]


def cold_catalogue(rounds: int) -> list[Figure]:
    """Read the early list and today's, with nothing known, from a server that takes 20 ms each."""
    figures = []
    for kind, path, file in (
        ("early list", "MODULES.yml", "metadata.json"),
        ("today's list", ".gitmodules", "ai4-metadata.yml"),
    ):
        read_s, bare_s, slowest_s = [], [], []
        with _served() as port:
            for _ in range(rounds):
                read_s.append(_read_s(port, path))
                whole_s, each_s = _bare_s(port, file)
                bare_s.append(whole_s)
                slowest_s.append(max(each_s))
        name = f"{MODULES} modules cold, {kind}, {CONCURRENCY} at a time"
        figures.append(Figure(name, "s", tuple(read_s), floor=tuple(bare_s)))
        figures.append(Figure(f"slowest single download, {kind}", "s", tuple(slowest_s)))
    return figures


def _lists(place: Place) -> list[Figure]:
    """The lists of 500 modules and one module a second, beside an empty FastAPI route."""
    port = a_free_port()
    server = [sys.executable, "-m", "tests.bench.modules", str(place.folder / "warm"), str(port)]
    paths = ("/v1/modules", "/v1/modules/summary", f"/v1/modules/metadata/{NAME.format(7)}")
    rates: dict[str, list[float]] = {path: [] for path in paths}
    floors = []
    with OwnProcess(server), empty_server() as empty_port:
        await_answer(f"http://127.0.0.1:{port}/v1/modules")
        for _ in range(place.rounds):
            floors.append(load(empty_port, "/", seconds=SECONDS)["rate"])
            for path in paths:
                rates[path].append(load(port, path, seconds=SECONDS)["rate"])
    shown = dict(zip(paths, ("/v1/modules", "/v1/modules/summary", "…/metadata/NAME"), strict=True))
    return [
        Figure(f"GET {shown[path]} of {MODULES}", "requests/s", tuple(rates[path]), tuple(floors))
        for path in paths
    ]


@contextlib.contextmanager
def _served() -> Iterator[int]:
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.write(b"\n")


def _read_s(port: int, path: str) -> float:
    host = f"127.0.0.1:{port}"
    reader = ListReader(
        f"http://{host}/{path}",
        FORMS["modules_yml" if path == "MODULES.yml" else "gitmodules"],
        partial(Http, Hosts([host]), ssl.create_default_context()),
        templates={host: f"http://{host}/raw/{{path}}/{{branch}}/{{file}}"},
        pace=Pace(concurrency=CONCURRENCY),
    )
    begun = time.perf_counter()
    read = reader.read({})
    took_s = time.perf_counter() - begun
    assert sum(module.document is not None for module in read.modules) == MODULES
    return took_s


def _bare_s(port: int, file: str) -> tuple[float, list[float]]:
    """Return how long the same downloads take a pool of `requests`, and each of them."""
    own = threading.local()

    def get(number: int) -> float:
        if not hasattr(own, "session"):
            own.session = requests.Session()
        url = f"http://127.0.0.1:{port}/raw/team/{name_of(number)}/main/{file}"
        begun = time.perf_counter()
        assert own.session.get(url, timeout=30).status_code == 200
        return time.perf_counter() - begun

    begun = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        each_s = list(pool.map(get, range(MODULES)))
    return time.perf_counter() - begun, each_s
