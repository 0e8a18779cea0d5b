"""Mutual TLS with a real Nomad, by Nomad's own variables."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.cluster.nomad import NomadCluster
from reconciler.cluster.protocol import Cluster
from reconciler.errors import ClusterUnavailable
from reconciler.jobs import Job
from reconciler.settings import load_settings
from tests.authority import Authority
from tests.contract.doors import a_job, ref_of, watching
from tests.real import NAMESPACES, TlsAgent, find_nomad

pytestmark = pytest.mark.nomad

Ours = Callable[..., Cluster]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Somebody else's authority, whose certificates look like ours."""
    return Authority(tmp_path_factory.mktemp("strange-pki"))


@pytest.fixture(scope="module")
def agent(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsAgent]:
    if find_nomad() is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN")
    with TlsAgent(tmp_path_factory.mktemp("tls"), authority) as started:
        yield started


@pytest.fixture
def ours(agent: TlsAgent, authority: Authority) -> Ours:
    """Our cluster as the environment says; `None` takes a variable out."""
    certificate, key = authority.issue("client.global.nomad")
    right = {
        "NOMAD_ADDR": agent.address,
        "NOMAD_CACERT": str(authority.file),
        "NOMAD_CLIENT_CERT": str(certificate),
        "NOMAD_CLIENT_KEY": str(key),
        "NOMAD_TLS_SERVER_NAME": "server.global.nomad",
    }

    def open_cluster(**changed: object) -> Cluster:
        environ = {k: str(v) for k, v in {**right, **changed}.items() if v is not None}
        return NomadCluster(load_settings(environ).targets[0].nomad, NAMESPACES)

    return open_cluster


def test_calls_and_streams_work_with_the_right_files(ours):
    cluster = ours()
    job = a_job(count=0)
    cluster.ensure_namespaces()
    with watching(cluster) as watch:
        index = cluster.register_job(job, if_index=0).index
        assert watch.change(Job, lambda told: told.ref == ref_of(job)).job_modify_index == index
    cluster.purge_job(ref_of(job))


def refused(cluster: Cluster, words: str) -> None:
    for call in (cluster.ensure_namespaces, cluster.list_jobs):
        with pytest.raises(ClusterUnavailable, match=words):
            call()


def test_who_shows_no_certificate_is_not_let_in(ours):
    refused(ours(NOMAD_CLIENT_CERT=None, NOMAD_CLIENT_KEY=None), "certificate required")


def test_who_shows_a_strangers_certificate_is_not_let_in(ours, stranger):
    certificate, key = stranger.issue("client.global.nomad")
    refused(ours(NOMAD_CLIENT_CERT=certificate, NOMAD_CLIENT_KEY=key), "alert")


@pytest.mark.parametrize("authority_is", ["another", "the system's"])
def test_a_nomad_of_another_authority_is_not_trusted(ours, stranger, authority_is):
    file = stranger.file if authority_is == "another" else None
    refused(ours(NOMAD_CACERT=file), "certificate verify failed")


def test_the_name_in_the_certificate_must_be_the_one_that_is_expected(ours, agent):
    """Nomad's certificates name roles, `server.global.nomad`, and `localhost`; no address."""
    refused(ours(NOMAD_TLS_SERVER_NAME=None), "certificate verify failed: IP address mismatch")
    refused(ours(NOMAD_TLS_SERVER_NAME="server.mars.nomad"), "Hostname mismatch")
    by_name = agent.address.replace("127.0.0.1", "localhost")
    assert ours(NOMAD_ADDR=by_name, NOMAD_TLS_SERVER_NAME=None).list_jobs().index > 0


def test_nobody_is_verified_only_where_that_is_said_aloud(ours, caplog):
    assert ours(NOMAD_CACERT=None, NOMAD_SKIP_VERIFY="true").list_jobs().index > 0
    assert "NOMAD_SKIP_VERIFY" in caplog.text


def test_plain_http_to_its_port_is_told_as_what_it_is(ours, agent):
    refused(ours(NOMAD_ADDR=agent.address.replace("https", "http")), "HTTPS server")


def test_new_certificate_files_are_taken_up_without_a_restart(ours, authority, stranger, tmp_path):
    """Every new connection reads them; an old one lives on until Nomad closes it."""

    def put(issued: tuple[Path, Path]) -> dict[str, Path]:
        names = ("NOMAD_CLIENT_CERT", "NOMAD_CLIENT_KEY")
        return {n: shutil.copy(file, tmp_path / n) for n, file in zip(names, issued, strict=True)}

    cluster = ours(**put(stranger.issue("client.global.nomad")))
    refused(cluster, "alert")
    put(authority.issue("client.global.nomad"))
    cluster.ensure_namespaces()
    with watching(cluster):
        pass
