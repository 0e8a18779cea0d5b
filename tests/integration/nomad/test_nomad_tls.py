"""Whom the real adapter trusts."""

import threading
from datetime import timedelta

import pytest

from reconciler.cluster.nomad import NomadCluster
from reconciler.errors import ClusterError, ClusterUnavailable
from reconciler.nomad_section import NomadSettings
from tests.authority import Authority
from tests.pretender import JOB, REF, WRITTEN, Answer, a_cluster, pretending


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def test_an_unknown_authority_is_refused_unless_switched_off_aloud(authority, caplog):
    with pretending(authority.context("127.0.0.1")) as server:
        server.answer = lambda _: Answer(WRITTEN)
        with pytest.raises(ClusterUnavailable, match="certificate verify failed"):
            a_cluster(server).register_job(JOB, if_index=0)
        assert server.asked == []
        assert caplog.text == ""
        assert a_cluster(server, skip_verify=True).register_job(JOB, if_index=0).index == 9
        assert "NOMAD_SKIP_VERIFY" in caplog.text


def test_our_authority_is_trusted_for_the_name_in_the_certificate(authority):
    """A Nomad server's certificate is for `server.global.nomad`, whatever its address."""
    with pretending(authority.context("server.global.nomad")) as server:
        server.answer = lambda _: Answer(WRITTEN)
        with pytest.raises(ClusterUnavailable, match="certificate verify failed"):
            a_cluster(server, cacert=authority.file).stop_job(REF)
        with pytest.raises(ClusterUnavailable, match="certificate verify failed"):
            a_cluster(server, cacert=authority.file, tls_server_name="other").stop_job(REF)
        named = a_cluster(server, cacert=authority.file, tls_server_name="server.global.nomad")
        assert named.stop_job(REF).index == 9


def test_a_client_certificate_is_shown_where_one_is_asked_for(authority):
    certificate, key = authority.issue("client.global.nomad")
    with pretending(authority.context("127.0.0.1", clients_must_show=True)) as server:
        server.answer = lambda _: Answer(WRITTEN)
        with pytest.raises(ClusterUnavailable):
            a_cluster(server, cacert=authority.file).stop_job(REF)
        shown = a_cluster(server, cacert=authority.file, client_cert=certificate, client_key=key)
        assert shown.stop_job(REF).index == 9


def test_an_expired_certificate_is_refused_in_plain_words(authority):
    with pretending(authority.context("127.0.0.1", ends_in=-timedelta(hours=1))) as server:
        server.answer = lambda _: Answer(WRITTEN)
        with pytest.raises(ClusterUnavailable, match="certificate has expired"):
            a_cluster(server, cacert=authority.file).stop_job(REF)
        assert server.asked == []


def test_a_missing_authority_file_is_named():
    with pretending() as server:
        secure = server.address.replace("http://", "https://")
        cluster = NomadCluster(NomadSettings(address=secure, cacert="/no/such/ca.pem"), ("ns",))
        with pytest.raises(ClusterError, match=r"/no/such/ca\.pem"):
            cluster.list_jobs()


def test_a_waiting_stream_over_tls_ends_when_it_is_told(authority):
    stop = threading.Event()
    with pretending(authority.context("127.0.0.1")) as server:
        server.answer = lambda _: Answer(lambda out: (out.write(b"{}\n"), server.gone.wait()))
        stream = a_cluster(server, cacert=authority.file).changes(after=0, stop=stop)
        assert next(stream).index == 0
        stop.set()
        assert list(stream) == []
