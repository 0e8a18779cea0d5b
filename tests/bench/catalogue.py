"""A cold catalogue of 500 modules: how long until all are read, beside the bare downloads."""

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
from tests.catalog_server import name_of

MODULES = 500
CONCURRENCY = 16
DELAY_S = 0.02
SERVE = f"""
from tests.catalog_server import CatalogServer
with CatalogServer({MODULES}, delay_s={DELAY_S}) as server:
    server.branches = dict.fromkeys(server.names, "main")
    print(server.port, flush=True)
    input()
"""


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
