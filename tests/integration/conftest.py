"""The HTTP face on a real socket and a real store; only the reconciler is played by the test."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml
from fastapi import FastAPI

from api.app import create_app
from api.auth import NotAuthenticated, User
from api.schemas import PlanView
from api.services import Services
from specs.model import Condition, Deployment, DeploymentStatus, Owner, Phase
from specs.store import SpecStore
from specs.userconf import read_userconf
from tests.whole import Whole

VOS = ("vo.ai4eosc.eu", "vo.imagine-ai.eu")
ETC = Path(__file__).parents[2] / "etc"
MAX_BODY_BYTES = 100_000
WAIT_S = 10


@dataclass
class Caller:
    """One user's way to the server."""

    client: httpx.Client
    token: str

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return self.client.request(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)

    @property
    def owner(self) -> Owner:
        return Owner("https://op", self.token)


@dataclass
class Server:
    """A running server: `told` is what its runtime parts answer, to be changed by a test."""

    url: str
    app: FastAPI
    store: SpecStore
    client: httpx.Client
    told: dict[str, Any] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def caller(self, *, several_vos: bool = False) -> Caller:
        """Return a user that no other test knows."""
        kind = "several" if several_vos else "one"
        return Caller(self.client, f"user-{kind}-{next(self._numbers)}")

    def tell(self, uid: str, phase: Phase, *, ready: bool = False, **status: Any) -> None:
        """Write a status as the reconciler would."""
        deployment = self.store.get(uid)
        assert deployment is not None
        conditions = (
            Condition(
                type="Ready",
                status="True" if ready else "False",
                reason="Told",
                last_transition_time=deployment.created_at,
            ),
        )
        written = DeploymentStatus(
            phase=phase,
            conditions=conditions,
            observed_generation=deployment.generation,
            observed_at=deployment.created_at,
            **status,
        )
        assert self.store.put_status(uid, written, applied=None, seen_index=1)

    def finish_deletion(self, uid: str) -> None:
        deployment = self.store.get(uid)
        assert deployment is not None
        for finalizer in deployment.finalizers:
            self.store.remove_finalizer(uid, finalizer)


def known(token: str) -> User:
    if not token.startswith("user-"):
        raise NotAuthenticated("the token is nobody's")
    vos = VOS if "several" in token else VOS[:1]
    return User(Owner("https://op", token), name=token, vos=vos)


@contextmanager
def serving(app: FastAPI, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve `app` on a free port; give its URL once it answers."""
    started = threading.Event()

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Announced(uvicorn.Config(app, host=host, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(WAIT_S)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def serve():
    """Serve an application on a free port, as a context manager that gives its URL."""
    return serving


@pytest.fixture(scope="session")
def etc_conf():
    return read_userconf(yaml.safe_load((ETC / "userconf.yaml").read_text()))


@pytest.fixture
def open_store(tmp_path) -> Iterator[SpecStore]:
    store = SpecStore(f"sqlite:///{tmp_path / 'specs.db'}")
    store.migrate()
    yield store
    store.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory, etc_conf) -> Iterator[Server]:
    store = SpecStore(f"sqlite:///{tmp_path_factory.mktemp('api') / 'specs.db'}")
    store.migrate()
    told: dict[str, Any] = {"faults": (), "ready": True, "plan": PlanView(effect="creates")}

    def previewed(deployment: Deployment) -> PlanView:
        told["previewed"] = deployment
        return told["plan"]

    services = Services(
        store=store,
        conf=etc_conf,
        auth=known,
        preview=previewed,
        faults=lambda: told["faults"],
        ready=lambda: told["ready"],
        cluster_title="Nomad 2.0.5 at http://10.0.0.1:4646",
        max_body_bytes=MAX_BODY_BYTES,
    )
    app = create_app(services)
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=WAIT_S) as client:
        yield Server(url, app, store, client, told)
    store.close()


@pytest.fixture
def told(server: Server) -> Iterator[dict[str, Any]]:
    """Give what the runtime parts answer; put back after the test."""
    before = dict(server.told)
    yield server.told
    server.told.clear()
    server.told.update(before)


@pytest.fixture
def me(server: Server) -> Caller:
    return server.caller()


@pytest.fixture
def someone_else(server: Server) -> Caller:
    return server.caller()


@pytest.fixture
def manifest() -> Callable[..., dict[str, Any]]:
    """Build a manifest that shows only what matters: groups by keyword, metadata by `metadata`."""

    def build(name: str = "train-a", *, metadata: Mapping[str, Any] | None = None, **spec: Any):
        return {
            "apiVersion": "ai4papi/v1",
            "kind": "Deployment",
            "metadata": {"name": name} | dict(metadata or {}),
            "spec": spec,
        }

    return build


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    """The whole loop on a virtual clock."""
    whole = Whole(tmp_path)
    yield whole
    whole.store.close()
