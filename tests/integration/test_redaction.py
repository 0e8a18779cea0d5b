"""T34, in part: whatever is logged at DEBUG, by whichever library, holds no secret."""

import io
import logging
from dataclasses import replace

import httpx
import pytest
import requests

from api.app import create_app
from api.auth import NotAuthenticated, Role, User
from reconciler.logs import JsonLines, ShortLines
from specs.model import Owner
from specs.store import SpecStore
from tests.builders import SEAL

TOKEN = "user-one-Zq81xPvKw77bHsYeLd20Tokens"
BAD_TOKEN = "nobody-M3nAq9RtU5wXz2CvB8kLp4"
QUERY_TOKEN = "query-J7hGf6DsA1qWe4RtY9uIo3"
PASSWORD = "N6bVc5XzL3kJh2GfD8sAp"
LAB_PASSWORD = "T4rEw7QyU1iOp5AsD9fGh correct horse"
SENTINELS = (TOKEN, BAD_TOKEN, QUERY_TOKEN, PASSWORD, LAB_PASSWORD)


class Ada:
    """Lets in who has her token; nothing else of her is in it."""

    def known(self, token):
        roles = {"vo.ai4eosc.eu": frozenset({Role.USER})}
        return User(Owner("https://op", "ada"), name="Ada", roles=roles) if token == TOKEN else None

    def __call__(self, token):
        raise NotAuthenticated("the token is nobody's")


def pieces(secret, length=16):
    return [secret[at : at + length] for at in range(len(secret) - length + 1)]


@pytest.fixture(params=[JsonLines, ShortLines])
def written(request):
    """Give all that is logged at DEBUG while the test runs."""
    stream = io.StringIO()
    door = logging.StreamHandler(stream)
    door.setFormatter(request.param())
    root = logging.getLogger()
    level = root.level
    root.addHandler(door)
    root.setLevel(logging.DEBUG)
    logging.getLogger("sqlalchemy").setLevel(logging.DEBUG)
    yield stream
    logging.getLogger("sqlalchemy").setLevel(logging.WARNING)
    root.removeHandler(door)
    root.setLevel(level)


@pytest.fixture
def store(written, tmp_path):
    # Opened while everything is wanted: SQLAlchemy asks only then.
    store = SpecStore(f"sqlite:///{tmp_path / 'specs.db'}", seal=SEAL)
    store.migrate()
    yield store
    store.close()


def test_t34_no_secret_is_in_any_log_line(written, server, serve, store, manifest):
    app = create_app(replace(server.app.state.services, store=store, auth=Ada()))
    secret = manifest(
        "secret",
        general={"jupyter_password": LAB_PASSWORD, "service": "jupyterlab"},
        storage={"rclone_user": "ada", "rclone_password": PASSWORD},
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with serve(app, log_level="debug") as url:
        me = httpx.Client(base_url=url, headers=headers, trust_env=False)
        made = me.put("/v1/specs/secret", json=secret)
        assert made.status_code == 201, made.text
        assert me.get("/v1/specs/secret").status_code == 200
        assert me.get(f"/v1/specs?access_token={QUERY_TOKEN}").status_code == 422
        assert me.get("/v1/specs", headers={"Authorization": f"Bearer {BAD_TOKEN}"}).is_error
        # urllib3 logs the address.
        requests.get(f"{url}/v1/specs", {"access_token": QUERY_TOKEN}, headers=headers, timeout=9)

        def broken(*_, **__):
            message = f"lost {headers} and postgresql://ada:{PASSWORD}@db/x"
            raise RuntimeError(message)

        store.page = broken
        assert me.get("/v1/specs").status_code == 500
        me.close()
    text = written.getvalue()
    for library in ("uvicorn.access", "urllib3.connectionpool", "sqlalchemy.engine"):
        if '"logger"' in text:
            assert library in text, f"{library} logged nothing: the test shows nothing of it"
    assert "request failed" in text
    for secret_text in SENTINELS:
        assert not [piece for piece in pieces(secret_text) if piece in text]
