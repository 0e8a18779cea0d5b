"""The real adapter against answers that no healthy Nomad gives, and what it says on the wire."""

import base64
import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.cluster import nomad
from reconciler.cluster.nomad import NomadCluster
from reconciler.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterUnavailable,
    JobConflict,
    JobRejected,
)
from reconciler.jobs import JobRef, Registered
from reconciler.settings import NomadSettings

REF = JobRef("ns", "j1")
JOB = {"ID": "j1", "Namespace": "ns"}
STUB = {
    "ID": "j1",
    "Namespace": "ns",
    "JobModifyIndex": 5,
    "ModifyIndex": 6,
    "Stop": False,
    "Status": "running",
}
WRITTEN = {"JobModifyIndex": 9, "Index": 9, "EvalID": "e1"}


class Asked(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any


class Answer(NamedTuple):
    """What the pretender answers; a body that is not text or bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = {}


@dataclass
class Pretender:
    """An HTTP server that answers as the test says and remembers what it was asked."""

    address: str
    answer: Callable[[Asked], Answer] = lambda _: Answer({})
    asked: list[Asked] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    def will(self, *answers: Answer) -> None:
        """Give these answers, in this order."""
        left = iter(answers)
        self.answer = lambda _: next(left)


@contextmanager
def pretending(tls: ssl.SSLContext | None = None) -> Iterator[Pretender]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _reply(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(
                self.command,
                url.path,
                parse_qs(url.query),
                dict(self.headers),
                json.loads(body) if body else None,
            )
            pretender.asked.append(asked)
            answer = pretender.answer(asked)
            if callable(answer.body):
                self.send_response(answer.status)
                self.send_header("Connection", "close")
                self.end_headers()
                answer.body(self.wfile)
                self.close_connection = True
                return
            body = answer.body
            if not isinstance(body, bytes):
                body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _reply  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    address = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    pretender = Pretender(address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield pretender
    finally:
        pretender.gone.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Pretender]:
    with pretending() as pretender:
        yield pretender


def a_cluster(
    server: Pretender, *, namespaces: tuple[str, ...] = ("ns",), **settings: Any
) -> NomadCluster:
    return NomadCluster(NomadSettings(address=server.address, **settings), namespaces)


def a_page(*items: Any, index: int = 10, after: str = "", leader: str = "true") -> Answer:
    headers = {"X-Nomad-Index": str(index), "X-Nomad-KnownLeader": leader}
    if after:
        headers["X-Nomad-NextToken"] = after
    return Answer(list(items), headers=headers)


# What is sent


def test_the_environment_redirects_nothing(server, monkeypatch):
    """python-nomad lets NOMAD_NAMESPACE win over the job's own, and requests follows proxies."""
    for name, value in {
        "NOMAD_NAMESPACE": "elsewhere",
        "NOMAD_TOKEN": "the-environments",
        "NOMAD_REGION": "mars",
        "NOMAD_ADDR": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    cluster = a_cluster(server)
    server.answer = lambda _: Answer(WRITTEN)
    cluster.register_job(JOB, if_index=0)
    (asked,) = server.asked
    assert asked.query == {"namespace": ["ns"]}
    assert "X-Nomad-Token" not in asked.headers


def test_token_region_and_basic_auth_go_with_every_call(server):
    cluster = a_cluster(server, token="s3cret", region="eu", http_auth="me:pass:word")
    server.answer = lambda asked: a_page() if asked.path == "/v1/nodes" else Answer(WRITTEN)
    cluster.register_job(JOB, if_index=4)
    cluster.stop_job(REF)
    cluster.list_nodes()
    assert len(server.asked) == 3
    for asked in server.asked:
        assert asked.headers["X-Nomad-Token"] == "s3cret"
        assert asked.query["region"] == ["eu"]
        sent = base64.b64decode(asked.headers["Authorization"].removeprefix("Basic "))
        assert sent == b"me:pass:word"
    assert server.asked[0].body == {"Job": JOB, "EnforceIndex": True, "JobModifyIndex": 4}


def test_no_secret_is_shown_in_the_title(server):
    shown = NomadCluster(
        NomadSettings(address="http://me:word@nomad.example:4646", token="s3cret"), ("ns",)
    ).title
    assert shown == "Nomad at http://nomad.example:4646"


def test_every_call_names_its_namespace_and_a_list_all_of_them(server):
    """python-nomad sends none with evaluations and Variables."""
    server.answer = lambda asked: (
        Answer([{"Name": "ns"}])
        if asked.path == "/v1/namespaces"
        else Answer({"Items": {}, "ModifyIndex": 3})
        if "/var/" in asked.path
        else a_page()
        if asked.path.endswith("s") and "/job/" not in asked.path
        else Answer(WRITTEN)
    )
    cluster = a_cluster(server)
    cluster.list_jobs()
    cluster.list_allocations()
    cluster.list_evaluations()
    cluster.read_variable(REF)
    cluster.put_variable(REF, {"a": "b"}, if_index=0)
    cluster.delete_variable(REF)
    cluster.purge_job(REF)
    own = [a for a in server.asked if not a.path.startswith(("/v1/namespace", "/v1/agent/"))]
    assert [asked.query["namespace"] for asked in own] == [["*"]] * 3 + [["ns"]] * 4


@pytest.mark.parametrize("odd", ["../agent/self", "a?purge=true#", "a/b", "a%2Fb", "é\n"])
def test_an_id_never_leaves_its_place_in_the_path(server, odd):
    server.answer = lambda _: Answer({**STUB, "ID": odd})
    a_cluster(server).read_job(JobRef("ns", odd))
    (asked,) = server.asked
    assert asked.path.startswith("/v1/job/")
    assert asked.path.count("/") == 3
    assert asked.query == {"namespace": ["ns"]}


@pytest.mark.parametrize("dots", ["", ".", ".."])
def test_an_id_that_a_path_can_not_hold_is_never_sent(server, dots):
    with pytest.raises(JobRejected):
        a_cluster(server).stop_job(JobRef("ns", dots))
    assert server.asked == []


def test_a_redirect_is_not_followed(server):
    """Whoever is named in it would get the token."""
    with pretending() as elsewhere:
        server.answer = lambda _: Answer(
            status=307, headers={"Location": elsewhere.address + "/v1/jobs"}
        )
        cluster = a_cluster(server, token="s3cret")
        for call in (
            lambda: cluster.parse_job("x"),
            lambda: cluster.register_job(JOB, if_index=0),
            lambda: cluster.put_variable(REF, {"a": "b"}, if_index=0),
            lambda: cluster.stop_job(REF),
            cluster.list_jobs,
        ):
            with pytest.raises(ClusterUnavailable):
                call()
        assert elsewhere.asked == []


# What is made of answers


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer("<html>It works!</html>"), ClusterUnavailable),
        (Answer("nothing of sense"), ClusterUnavailable),
        (Answer({"status": "ok"}), ClusterUnavailable),
        (Answer([]), ClusterUnavailable),
        (Answer(None), ClusterUnavailable),
        (Answer("Too many requests", 429), ClusterUnavailable),
        (Answer("<html>Bad gateway</html>", 502), ClusterUnavailable),
        (Answer("No cluster leader", 503), ClusterUnavailable),
        (Answer("404 page not found", 404), ClusterUnavailable),
        (Answer("<html>Not here</html>", 404), ClusterUnavailable),
        (Answer("Permission denied", 403), ClusterForbidden),
        (Answer("", 401), ClusterForbidden),
    ],
)
def test_what_is_not_nomads_answer_is_no_answer(server, answer, kind):
    """A proxy's page must never read as "there is no such job"."""
    server.answer = lambda _: answer
    cluster = a_cluster(server)
    for call in (
        lambda: cluster.read_job(REF),
        lambda: cluster.register_job(JOB, if_index=0),
        lambda: cluster.plan_job(JOB),
        lambda: cluster.stop_job(REF),
        lambda: cluster.purge_job(REF),
        lambda: cluster.read_variable(REF),
        lambda: cluster.put_variable(REF, {"a": "b"}, if_index=0),
        lambda: cluster.parse_job("x"),
        cluster.list_jobs,
        cluster.list_nodes,
    ):
        with pytest.raises(kind):
            call()


@pytest.mark.parametrize("page", ["404 page not found", "<html>Not here</html>", ""])
def test_a_404_is_absence_only_in_nomads_own_words(server, page):
    server.answer = lambda asked: (
        Answer({"Name": "ns"}) if asked.path.startswith("/v1/namespace/") else Answer(page, 404)
    )
    cluster = a_cluster(server)
    for call in (cluster.read_job, cluster.read_variable):
        with pytest.raises(ClusterUnavailable):
            call(REF)


def test_another_jobs_answer_is_no_answer(server):
    server.answer = lambda _: Answer({**STUB, "ID": "somebody-else"})
    with pytest.raises(ClusterUnavailable):
        a_cluster(server).read_job(REF)


def test_a_500_is_the_jobs_fault_only_where_validation_says_so(server):
    server.will(Answer("1 error", 500), Answer({"Error": "disk\n\ttoo small"}))
    with pytest.raises(JobRejected, match=r"^disk too small$"):
        a_cluster(server).register_job(JOB, if_index=0)
    assert [asked.path for asked in server.asked] == ["/v1/jobs", "/v1/validate/job"]


@pytest.mark.parametrize(
    "judged", [Answer({"Error": ""}), Answer("rpc error", 500), Answer("<html>", 200)]
)
def test_a_500_that_validation_can_not_explain_is_an_outage(server, judged):
    server.will(Answer("rpc error: EOF", 500), judged)
    with pytest.raises(ClusterUnavailable):
        a_cluster(server).register_job(JOB, if_index=0)


def test_a_conflict_needs_no_validation(server):
    server.will(Answer("Enforcing job modify index 3: job exists with conflicting …", 500))
    with pytest.raises(JobConflict, match=r"Enforcing job modify index 3"):
        a_cluster(server).register_job(JOB, if_index=3)


def test_an_unchanged_register_answers_the_index_that_was_enforced(server):
    server.will(Answer({"JobModifyIndex": 22, "Index": 30, "EvalID": "e1"}))
    assert a_cluster(server).register_job(JOB, if_index=21) == Registered(21, "e1")


def test_a_lost_variable_write_tells_no_secret(server, caplog):
    held = {"Items": {"general.jupyter_password": "tops3cret"}, "ModifyIndex": 8}
    items = {"general.jupyter_password": "n3w"}
    server.will(Answer(held, 409))
    with pytest.raises(JobConflict) as refused:
        a_cluster(server).put_variable(REF, items, if_index=7)
    logging.getLogger("test").error("look", exc_info=refused.value)
    assert "nomad/jobs/j1" in caplog.text
    assert "tops3cret" not in caplog.text
    assert '"n3w"' not in caplog.text.replace("'", '"')


# Lists


def test_pages_of_all_namespaces_make_one_list(server):
    server.will(
        a_page(STUB, index=12, after="ns.j2"),
        a_page(
            {**STUB, "ID": "j2"},
            {**STUB, "Namespace": "other", "ID": "j3"},
            {**STUB, "Namespace": "somebody-elses", "ID": "j4"},
            index=11,
        ),
        Answer([{"Name": "ns"}, {"Name": "other"}, {"Name": "somebody-elses"}]),
        Answer({"config": {"Version": {"Version": "2.0.5"}}}),
    )
    cluster = a_cluster(server, namespaces=("ns", "other"))
    listing = cluster.list_jobs()
    assert [job.ref for job in listing.items] == [("ns", "j1"), ("ns", "j2"), ("other", "j3")]
    assert listing.index == 11
    assert [asked.query.get("next_token") for asked in server.asked] == [
        None,
        ["ns.j2"],
        None,
        None,
    ]
    assert cluster.title == f"Nomad 2.0.5 at {server.address}"


@pytest.mark.parametrize(
    "broken",
    [
        Answer("", 500),
        Answer("<html>"),
        Answer([{"ID": "j2"}], headers={"X-Nomad-Index": "1"}),
        Answer([STUB]),
        a_page(STUB, leader="false"),
    ],
    ids=["refused", "a page", "half an item", "no index", "no leader"],
)
def test_a_list_is_complete_or_there_is_none(server, broken):
    """Absence counts only after a complete read."""
    server.will(a_page(STUB, after="ns.j2"), broken)
    with pytest.raises(ClusterUnavailable):
        a_cluster(server).list_jobs()


def test_an_empty_list_of_a_namespace_that_is_not_there_is_no_list(server):
    server.will(a_page(), Answer("Namespace not found", 404))
    with pytest.raises(ClusterForbidden, match=r"nomad\.namespaces"):
        a_cluster(server).list_jobs()


def test_a_namespace_that_is_not_there_is_no_empty_list(server):
    server.will(a_page(), Answer([{"Name": "default"}]))
    with pytest.raises(ClusterForbidden, match="no namespace ns"):
        a_cluster(server).list_jobs()


def test_a_token_that_may_not_know_the_version_lists_all_the_same(server):
    known = Answer([{"Name": "ns"}])
    server.will(a_page(STUB), known, Answer("Permission denied", 403), a_page(STUB), known)
    cluster = a_cluster(server)
    assert [job.ref for job in cluster.list_jobs().items] == [REF]
    assert cluster.list_jobs().index == 10
    assert cluster.title == f"Nomad at {server.address}"


# Time and threads


def test_nobody_there_is_unavailable_and_said_in_few_words():
    cluster = NomadCluster(NomadSettings(address="http://127.0.0.1:1"), ("ns",))
    with pytest.raises(
        ClusterUnavailable, match=r"127\.0\.0\.1:1: \[Errno \d+\] Connection refused"
    ):
        cluster.list_jobs()


def test_an_answer_that_does_not_come_is_not_waited_for(server):
    def never(_: Asked) -> Answer:
        server.gone.wait()
        return Answer()

    server.answer = never
    with pytest.raises(ClusterUnavailable, match="timed out"):
        a_cluster(server, timeout_s=0.1).list_jobs()


def test_many_threads_get_each_their_own_answer(server):
    server.answer = lambda asked: Answer({**STUB, "ID": asked.path.rpartition("/")[2]})
    cluster = a_cluster(server)
    wanted = [JobRef("ns", f"job-{n}") for n in range(200)]
    with ThreadPoolExecutor(16) as pool:
        assert [job["ID"] for job in pool.map(cluster.read_job, wanted)] == [r.id for r in wanted]


# The event stream


def following(server: Pretender, *, stop: threading.Event | None = None, **more: Any) -> list[Any]:
    cluster = a_cluster(server, **more)
    return list(cluster.changes(after=41, stop=stop or threading.Event()))


def a_line(*events: Mapping[str, Any], index: int = 42) -> bytes:
    return json.dumps({"Index": index, "Events": events}).encode() + b"\n"


def an_event(namespace: str = "ns") -> dict[str, Any]:
    job = {**STUB, "Namespace": namespace}
    return {"Topic": "Job", "Type": "JobRegistered", "Index": 42, "Payload": {"Job": job}}


def says(*parts: bytes) -> Answer:
    def write(out: Any) -> None:
        for part in parts:
            out.write(part)
            out.flush()

    return Answer(write)


def test_the_stream_is_read_however_it_is_cut_into_packets(server):
    line = a_line(an_event())
    server.answer = lambda _: says(b"{}\n", line[:10], line[10:] + b"{}", b"\n\n")
    assert [m.index for m in following(server)] == [0, 42, 0]
    (asked,) = server.asked
    assert asked.path == "/v1/event/stream"
    assert asked.query["topic"] == ["Job", "Allocation", "Evaluation", "Deployment", "Node"]
    assert (asked.query["namespace"], asked.query["index"]) == (["ns"], ["42"])


def test_several_namespaces_are_one_stream_without_the_strangers(server):
    line = a_line(an_event("ns"), an_event("foreign"), an_event("other"))
    server.answer = lambda _: says(line)
    (message,) = following(server, namespaces=("ns", "other"))
    assert [change.ref.namespace for change in message.changes] == ["ns", "other"]
    assert server.asked[0].query["namespace"] == ["*"]


@pytest.mark.parametrize(
    "line",
    [b"<html>\n", b'{"Index": 4\n', b"[]x\n", b'{"error": "gone"}\n', b'{"Events": [{}]}\n', b"{"],
)
def test_a_line_that_is_no_event_breaks_the_stream(server, line):
    server.answer = lambda _: says(b"{}\n", line)
    with pytest.raises(ClusterUnavailable, match="event stream"):
        following(server)


def test_a_silent_stream_is_a_dead_one(server, monkeypatch):
    monkeypatch.setattr(nomad, "SILENCE_S", 0.1)
    server.answer = lambda _: Answer(lambda out: (out.write(b"{}\n"), server.gone.wait()))
    with pytest.raises(ClusterUnavailable, match="event stream broke"):
        following(server)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(Answer("Permission denied", 403), ClusterForbidden), (Answer("", 500), ClusterUnavailable)],
)
def test_a_refused_stream_says_why(server, answer, kind):
    server.answer = lambda _: answer
    with pytest.raises(kind):
        following(server)


def test_a_stream_that_waits_ends_when_it_is_told(server):
    stop = threading.Event()
    server.answer = lambda _: Answer(lambda out: (out.write(b"{}\n"), server.gone.wait()))
    stream = a_cluster(server).changes(after=0, stop=stop)
    assert next(stream).index == 0
    stop.set()
    assert list(stream) == []


# TLS


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
