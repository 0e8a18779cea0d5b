"""Whom the real adapter trusts."""

import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.cluster.nomad import NomadCluster
from reconciler.errors import ClusterError, ClusterUnavailable
from reconciler.settings import NomadSettings
from tests.pretender import JOB, REF, WRITTEN, Answer, a_cluster, pretending


class Authority:
    """A certificate authority of one test run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = self._write("ca", self._certificate("our CA", self._key, authority=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Issue a certificate for a DNS name or an address; return certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = self._folder / f"{name}.key"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return self._write(name, self._certificate(name, key)), private

    def context(self, name: str, *, clients_must_show: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name))
        if clients_must_show:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        file = self._folder / f"{name}.pem"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return file

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our CA")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([alternative]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


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
