"""Starting with OIDC: both ways to name a CA, the Python face, and what flaat must not do. T33."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ai4papi.routers.v1 import deployments

from api import serve
from api.auth import AuthFault, InvalidToken, NoMembership, second_opinion
from api.auth.https import trust
from reconciler.settings import load_settings
from tests.integration.tokens.conftest import shares_a_secret

ROOT = Path(__file__).parents[3]


@pytest.fixture
def environ(site, tmp_path):
    """The environment of a server that trusts the test's provider; its clock is the real one."""
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("userconf.yaml", "job.nomad"):
        (etc / name).write_bytes((ROOT / "etc" / name).read_bytes())
    conf = yaml.safe_load((ROOT / "etc/main_conf.yaml").read_text())
    conf["auth"]["OP"] = [site.provider.issuer]
    (etc / "main_conf.yaml").write_text(yaml.safe_dump(conf))
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("AI4PAPI_", "NOMAD_"))}
    return keep | {
        "AI4PAPI_AUTH": "oidc",
        "AI4PAPI_ETC": str(etc),
        "AI4PAPI_CLUSTER": "simulated",
        "AI4PAPI_STORE_URL": f"sqlite:///{tmp_path / 'specs.db'}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'api/compat'}",
    }


def a_token(site, **options):
    """Return a token for the real clock."""
    now = int(time.time())
    return site.provider.mint(iat=now, exp=now + 300, **options)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_either_variable_names_the_authorities(site, environ, monkeypatch, variable):
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(site.provider.ca_file))
    authenticate = serve.authenticator(load_settings(environ))
    token = a_token(site)
    assert authenticate.known(token) is None
    assert authenticate(token).vos == ("vo.ai4eosc.eu",)
    assert authenticate.known(token).name == "A. Lice"


def test_a_folder_of_authorities_will_do_and_nonsense_will_not(site, tmp_path):
    assert trust({"REQUESTS_CA_BUNDLE": str(tmp_path)}).verify_mode.name == "CERT_REQUIRED"
    assert trust({}).check_hostname
    (tmp_path / "empty.pem").write_text("")
    for place in ("/nowhere", str(tmp_path / "empty.pem")):
        with pytest.raises(AuthFault, match="SSL_CERT_FILE names"):
            trust({"SSL_CERT_FILE": place})


def test_the_python_face_takes_the_same_tokens(site, environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SSL_CERT_FILE", str(site.provider.ca_file))
    deployments._open.cache_clear()
    try:
        asked = SimpleNamespace(credentials=a_token(site))
        made = deployments.create_deployment(authorization=asked)
        listed = deployments.get_deployments(authorization=asked)
        assert [d["job_ID"] for d in listed] == [made["job_ID"]]
        for token in ("x", "", "\ud800", "a.b.c"):
            with pytest.raises(InvalidToken):
                deployments.get_deployments(SimpleNamespace(credentials=token))
        nobody = a_token(site, sub="bob", userinfo={})
        with pytest.raises(NoMembership):
            deployments.get_deployments(SimpleNamespace(credentials=nobody))
    finally:
        if deployments._open.cache_info().currsize:
            deployments._open()[0].store.close()
        deployments._open.cache_clear()


def test_t33_a_hostile_flaat_conf_changes_nothing(site, environ, tmp_path):
    issuer = site.provider.issuer
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "flaat.conf").write_text(
        f'[ops]\nops_that_support_jwt = ["{issuer}"]\nops_that_support_audience = ["{issuer}"]\n'
    )
    forged = a_token(site, header={"kid": "unknown"})
    site.provider.log_out(forged)
    good = a_token(site)
    program = (
        "import os, sys\n"
        "from api import serve\n"
        "from api.auth import InvalidToken\n"
        "authenticate = serve.authenticator(serve.read_settings(os.environ))\n"
        "try:\n"
        "    authenticate(sys.argv[1])\n"
        "except InvalidToken:\n"
        "    print('refused')\n"
        "print(authenticate(sys.argv[2]).vos)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, forged, good],
        cwd=folder,
        env=environ | {"SSL_CERT_FILE": str(site.provider.ca_file)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.stdout == "refused\n('vo.ai4eosc.eu',)\n", run.stderr
    assert not shares_a_secret(run.stderr, [forged, good])


def test_t33_the_installed_flaat_is_one_that_may_be_used():
    second_opinion.refuse_unsafe_flaat()
    with pytest.raises(AuthFault, match="forged"):
        second_opinion.refuse_unsafe_flaat("1.3.1")


def test_the_greeting_names_whose_tokens_are_taken(environ, site):
    text = serve.greet(load_settings(environ), "simulated", "http://127.0.0.1:8080")
    assert f"token    of {site.provider.issuer}" in text
