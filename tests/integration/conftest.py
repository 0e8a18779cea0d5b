"""The HTTP face on a real socket and a real store; only the reconciler is played by the test."""

import itertools
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from api.app import create_app
from api.auth import NotAuthenticated, Role, User
from api.cli.app import app as command_line
from api.login import LoginView
from api.schemas import ComparisonView, PlanView
from api.services import Services
from specs.model import Condition, Deployment, DeploymentStatus, Owner, Phase
from specs.store import SpecStore
from specs.userconf import read_userconf
from tests.builders import SEAL
from tests.real import wait_until
from tests.whole import Whole

VOS = ("vo.ai4eosc.eu", "vo.imagine-ai.eu")
ETC = Path(__file__).parents[2] / "etc"
MAX_BODY_BYTES = 100_000
WAIT_S = 10
HOOK_SECRET = "what the git host signs with"


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
    auth: "Everybody"
    told: dict[str, Any] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def caller(
        self,
        *,
        several_vos: bool = False,
        operator: bool = False,
        operator_of_one: bool = False,
        auditor: bool = False,
        editor: bool = False,
    ) -> Caller:
        """Return a user that no other test knows."""
        kind = "several" if several_vos else "operator" if operator else "one"
        kind = "editor" if editor else kind
        kind = "auditor" if auditor else "operating" if operator_of_one else kind
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

    @contextmanager
    def meanwhile(self, *steps: Callable[[], Any]) -> Iterator[None]:
        """Take each step as soon as somebody waits for a change who did not wait before."""
        waits = self.app.state.changes._wanted
        # One of before has the answer already, and is on the way out.
        wait_until(lambda: not waits.is_set(), within_s=WAIT_S, every_s=0.001)

        def take() -> None:
            for step in steps:
                assert waits.wait(WAIT_S)
                step()

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield
        finally:
            thread.join(WAIT_S)
            assert not thread.is_alive()

    def finish_deletion(self, uid: str) -> None:
        deployment = self.store.get(uid)
        assert deployment is not None
        for finalizer in deployment.finalizers:
            self.store.remove_finalizer(uid, finalizer)


class Everybody:
    """Lets in whoever calls themselves user-…; what they may do is in the name."""

    def __init__(self) -> None:
        self._left: set[tuple[str, str]] = set()

    def leave(self, token: str, vo: str) -> None:
        self._left.add((token, vo))

    def known(self, token: str) -> User | None:
        if not token.startswith("user-"):
            return None
        everywhere = {"several", "operator", "auditor"}
        vos = VOS if everywhere & set(token.split("-")) else VOS[:1]
        operates = "operator" in token or "operating" in token
        roles = {Role.USER, Role.OPERATOR} if operates else {Role.USER}
        roles = {Role.USER, Role.EDITOR} if "editor" in token else roles
        roles = {Role.AUDITOR} if "auditor" in token else roles
        return User(
            Owner("https://op", token),
            name=token,
            roles={vo: frozenset(roles) for vo in vos if (token, vo) not in self._left},
            operator="operator" in token,
        )

    def __call__(self, token: str) -> User:
        user = self.known(token)
        if user is None:
            raise NotAuthenticated("the token is nobody's")
        return user


@contextmanager
def serving(app: FastAPI, host: str = "127.0.0.1", **options: Any) -> Iterator[str]:
    """Serve `app` on a free port; give its URL once it answers. `options` are uvicorn's."""
    started = threading.Event()

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    config = uvicorn.Config(app, host=host, port=0, log_config=None, ws="none", **options)
    server = Announced(config)
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
    store = SpecStore(f"sqlite:///{tmp_path / 'specs.db'}", seal=SEAL)
    store.migrate()
    yield store
    store.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory, etc_conf) -> Iterator[Server]:
    store = SpecStore(f"sqlite:///{tmp_path_factory.mktemp('api') / 'specs.db'}", seal=SEAL)
    store.migrate()
    told: dict[str, Any] = {
        "faults": (),
        "ready": True,
        "plan": PlanView(effect="creates"),
        "comparison": ComparisonView(effect="unchanged", fits=True),
        "orphans": (),
        "gpus": None,
        "tags": {},
    }

    def previewed(deployment: Deployment) -> PlanView:
        told["previewed"] = deployment
        return told["plan"]

    auth = Everybody()
    services = Services(
        store=store,
        conf=etc_conf,
        auth=auth,
        preview=previewed,
        compare=lambda _: told["comparison"],
        orphans=lambda: told["orphans"],
        faults=lambda: told["faults"],
        ready=lambda: told["ready"],
        cluster_title="Nomad 2.0.5 at http://10.0.0.1:4646",
        trash_for=timedelta(days=7),
        gpus=lambda: told["gpus"],
        image_tags=lambda image: told["tags"].get(image, ()),
        login=LoginView(mode="oidc", issuers=("https://op",), vos=VOS, scopes=("openid",)),
        max_body_bytes=MAX_BODY_BYTES,
        hook_secret=HOOK_SECRET,
    )
    app = create_app(services)
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=WAIT_S) as client:
        yield Server(url, app, store, client, auth, told)
    store.close()


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Take off the handlers of a server that a test started in this process."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


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
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, with nothing of ours in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    ours = [name for name in os.environ if name.startswith("AI4PAPI_")]
    for name in (*ours, "NO_COLOR", "FORCE_COLOR", "OIDC_SOCK", "OIDC_REMOTE_SOCK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def environ(server: Server, me: Caller) -> dict[str, str]:
    return {"AI4PAPI_SERVER": server.url, "AI4PAPI_TOKEN": me.token}


@pytest.fixture
def cli(environ: dict[str, str], me: Caller, elsewhere: None) -> Callable[..., Result]:
    """Run one command line as `me`; whatever it says, it never says the token."""

    def run(*arguments: str, stdin: str | None = None, env: Mapping[str, str] = {}) -> Result:
        result = CliRunner().invoke(command_line, arguments, input=stdin, env={**environ, **env})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert me.token not in result.stderr
        return result

    return run


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
