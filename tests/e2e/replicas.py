"""A site of several processes on one PostgreSQL, and the people who use it meanwhile."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

from tests.e2e.deployments import manifest
from tests.e2e.histories import Step, Wish
from tests.e2e.server import ROOT, Server
from tests.real import wait_until

PEOPLE = 4

PAUSE_S = 0.35
"""How long a person thinks between two answers: some ten writes a second by all."""

PROBES = 24
"""Fresh deployments after each fault: enough that whoever is gone has some of them."""

MOST_EACH = 50
"""How many deployments a person has before they rather delete one."""


UPGRADE = (
    # As every migration begins: see `specs.postgres.lock_tables`.
    "LOCK TABLE counter IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE leases IN ACCESS EXCLUSIVE MODE",
    "CREATE TABLE later (id INTEGER PRIMARY KEY, what TEXT NOT NULL)",
    "ALTER TABLE deployments ADD COLUMN later TEXT NOT NULL DEFAULT 'x'",
    "ALTER TABLE counter ADD COLUMN later BIGINT NOT NULL DEFAULT 0",
    "UPDATE alembic_version SET version_num = '0999'",
)
"""What a later version adds, and says to be no matter to this one."""


class Reconciler:
    """`python -m reconciler` as a process of its own."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self.environ = environ
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler"],
                env=self.environ,
                cwd=self.home,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(timeout=40)

    @property
    def log(self) -> Path:
        return self.home / "reconciler.log"

    def said(self, words: str) -> int:
        """Return how many lines of its log say so."""
        return sum(words in line for line in self.log.read_text().splitlines())


class Site:
    """Two API replicas and three reconcilers."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        """`environ` names store and cluster."""
        self._stack = ExitStack()
        shared = {**os.environ, **environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'api/compat'}"}
        self.apis = [self._api(home / f"api-{n}", shared) for n in range(2)]
        shared |= {"AI4PAPI_AUTH": "local", "AI4PAPI_LOCAL_TOKEN": "e2e-local-token-0123456789"}
        self.reconcilers = [self._reconciler(home / f"reconciler-{n}", shared) for n in range(3)]
        self._engine = create_engine(
            make_url(environ["AI4PAPI_STORE_URL"]).set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
        )
        self._turn = count()

    def __enter__(self) -> "Site":
        self.apis[0].start()  # the first makes the tables
        self._stack.callback(self.apis[0].stop)
        for part in (self.apis[1], *self.reconcilers):
            part.start()
            self._stack.callback(part.stop)
        wait_until(lambda: self.shares() == [5, 5, 6], within_s=60, what="a fair share for each")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._engine.dispose()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call one API replica after the other until one answers as it does without a fault."""
        while True:
            try:
                code, answer = self.apis[next(self._turn) % 2].call(method, path, body)
            except (OSError, HTTPException):
                code, answer = 503, None
            assert code != 500, answer
            if code not in (429, 503):
                return code, answer
            time.sleep(0.05)

    def put(self, name: str, wish: Wish) -> Any:
        body = manifest(name, general={"title": wish.title}, hardware={"ram": wish.ram})
        code, answer = self.call("PUT", f"/v1/specs/{name}", body)
        assert code in (200, 201), answer
        return answer

    def delete(self, name: str) -> None:
        code, answer = self.call("DELETE", f"/v1/specs/{name}")
        assert code in (202, 404), answer

    def listed(self) -> list[Any]:
        code, page = self.call("GET", "/v1/specs?limit=500")
        assert code == 200, page
        assert not page["metadata"].get("continue"), "more than one page"
        return list(page["items"])

    def holders(self) -> list[str]:
        """Return who holds each part, of those whose lease is not over."""
        query = "SELECT holder FROM leases WHERE until_at > clock_timestamp()"
        with self._engine.connect() as connection:
            return [str(row[0]) for row in connection.execute(text(query))]

    def shares(self) -> list[int]:
        """Return how many parts each replica holds."""
        held = self.holders()
        return sorted(held.count(holder) for holder in set(held))

    def upgrade_tables(self) -> None:
        """Change the tables as the newer version of a site that is being upgraded does."""
        with self._engine.begin() as connection:
            for statement in UPGRADE:
                connection.execute(text(statement))

    def _api(self, home: Path, environ: dict[str, str]) -> Server:
        home.mkdir()
        server = Server(home, {**environ, "AI4PAPI_RECONCILE": "off"})
        server.environ["AI4PAPI_STORE_URL"] = environ["AI4PAPI_STORE_URL"]
        return server

    def _reconciler(self, home: Path, environ: dict[str, str]) -> Reconciler:
        home.mkdir()
        return Reconciler(home, environ)


@dataclass
class People:
    """Some who create, change and delete all the time; what was answered is in `steps`."""

    site: Site
    seed: int
    steps: list[Step] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "People":
        for person in range(PEOPLE):
            thread = threading.Thread(target=self._live, args=(person,))
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=90)

    def _live(self, person: int) -> None:
        chance = random.Random(self.seed + person)
        present: dict[str, Wish] = {}
        try:
            for number in count():
                if self._stop.wait(PAUSE_S):
                    return
                step = next_step(present, f"p{person}-{number}", chance)
                if step.wish is None:
                    self.site.delete(step.name)
                    del present[step.name]
                else:
                    self.site.put(step.name, step.wish)
                    present[step.name] = step.wish
                self.steps.append(step)
        except BaseException as fault:
            self.faults.append(fault)


def next_step(present: dict[str, Wish], fresh: str, chance: random.Random) -> Step:
    """Return what somebody who has these deployments does next; `fresh` is a free name."""
    kind = chance.choice(("create", "create", "update", "update", "delete"))
    if not present or (kind == "create" and len(present) < MOST_EACH):
        return Step(fresh, Wish(f"wish {fresh}", ram=300))
    name = chance.choice(sorted(present))
    if kind == "update":
        return Step(name, Wish(f"wish {fresh}", present[name].ram + chance.choice((0, 16))))
    return Step(name, None)


def put_probe(site: Site, label: str, number: int) -> str:
    """Declare a fresh deployment; return its uid."""
    answer = site.put(f"probe-{label}-{number}", Wish(label, ram=300))
    return str(answer["metadata"]["uid"])


def delete_probes(site: Site, label: str) -> None:
    for n in range(PROBES):
        site.delete(f"probe-{label}-{n}")
