"""The API's own TLS: `ai4papi-run --ssl-keyfile --ssl-certfile`."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from api import serve
from tests.authority import Authority

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-tests-0123456789"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AI4PAPI_", "NOMAD_"))}
    return kept | {
        "AI4PAPI_AUTH": "local",
        "AI4PAPI_LOCAL_TOKEN": TOKEN,
        "AI4PAPI_STORE_URL": f"sqlite:///{tmp_path / 'specs.db'}",
        "AI4PAPI_CLUSTER": "simulated",
        "PORT": "0",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'api/compat'}",
        "PYTHONUNBUFFERED": "1",
    }


def a_command(*options: object) -> list[str]:
    return [sys.executable, "-m", "api.serve", *map(str, options)]


@pytest.fixture
def url(environ: Mapping[str, str], authority: Authority) -> Iterator[str]:
    """The address of a server that speaks TLS for 127.0.0.1."""
    certificate, key = authority.issue("127.0.0.1")
    command = a_command("--ssl-certfile", certificate, "--ssl-keyfile", key)
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()
        assert process.wait(30) == 0


def test_who_trusts_its_authority_speaks_with_it_in_private(url, authority):
    assert url.startswith("https://127.0.0.1:")
    with httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {TOKEN}"},
        verify=ssl.create_default_context(cafile=str(authority.file)),
        trust_env=False,
    ) as me:
        assert me.get("/livez").status_code == 200
        assert me.get("/v1/specs").status_code == 200
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"{url}/livez", trust_env=False)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url.replace('https', 'http')}/livez", trust_env=False)


def test_a_pair_that_does_not_fit_is_one_sentence_and_exit_1(environ, authority):
    certificate, _ = authority.issue("127.0.0.1")
    _, other = authority.issue("localhost")
    command = a_command("--ssl-certfile", certificate, "--ssl-keyfile", other)
    run = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout) == (1, "")
    (said,) = run.stderr.splitlines()
    assert said.startswith("ai4papi-run: ")
    assert str(certificate) in said
    assert str(other) in said


def refused(*, certfile: Path | None = None, keyfile: Path | None = None) -> str:
    """Return the sentence with which a server refuses to start with these."""
    with pytest.raises(serve.StartRefused) as told:
        serve.refuse_bad_certificate(certfile, keyfile)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_key_without_its_certificate_is_refused(authority):
    _, key = authority.issue("127.0.0.1")
    assert "--ssl-certfile" in refused(keyfile=key)


def test_a_certificate_without_its_key_is_refused(authority):
    certificate, _ = authority.issue("127.0.0.1")
    assert str(certificate) in refused(certfile=certificate)


def test_what_is_no_certificate_is_refused(authority, tmp_path):
    _, key = authority.issue("127.0.0.1")
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"\x00\xffno certificate")
    assert "garbage.pem" in refused(certfile=garbage, keyfile=key)


def test_a_key_with_a_password_is_refused_instead_of_asked_for(authority, capfd):
    certificate, key = authority.issue("127.0.0.1")
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    said = refused(certfile=certificate, keyfile=key)
    assert "without a password" in said
    assert "pass phrase" not in "".join(capfd.readouterr())
