"""An identity provider in this process: TLS with a CA of its own, any token, any misbehaviour.

It counts what it is asked. `Trap` listens where nobody must ever call.
"""

import base64
import hashlib
import ipaddress
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

NOW = 1_800_000_000.0
"""The wall clock of tests, in seconds since 1970."""

REALM = "/auth/realms/egi"
DISCOVERY = f"{REALM}/.well-known/openid-configuration"
KEYS = f"{REALM}/keys"
USERINFO = f"{REALM}/userinfo"
LOGIN = f"{REALM}/auth"
TOKENS = f"{REALM}/token"
CLIENT = "papi-page"
"""The one client that may log browsers in here."""
MEMBER = "urn:mace:egi.eu:group:vo.ai4eosc.eu:role=member#aai.egi.eu"

Fault = Callable[["Handler"], None]


class Provider:
    """A running provider; `with Provider(folder) as provider`."""

    def __init__(self, folder: Path) -> None:
        self.ca_file, server_file = _certificates(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_file)
        self._server = _Server(context, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.ended = threading.Event()
        self.reset()

    def __enter__(self) -> "Provider":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reset(self) -> None:
        """Forget tokens, faults and counts; publish the first key only."""
        self.published: dict[str, Any] = {"key-1": rsa_key("key-1")}
        self.people: dict[str, dict[str, Any]] = {}
        self.minted: list[str] = []
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, Fault] = {}
        self.discovery: dict[str, Any] = {}
        self.jwks_extra: list[Any] = []
        self.flooded = 0
        self.codes: dict[str, dict[str, str]] = {}
        self.id_claims: dict[str, Any] = {}
        self.id_key: Any = None
        self.token_answer: dict[str, Any] = {}

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def issuer(self) -> str:
        return self.origin + REALM

    def mint(
        self,
        sub: Any = "alice",
        *,
        header: Mapping[str, Any] | None = None,
        without: tuple[str, ...] = (),
        userinfo: Mapping[str, Any] | None = None,
        key: Any = None,
        **claims: Any,
    ) -> str:
        """Return a signed token; the user logged in with it, and userinfo tells of `sub`."""
        head = {"alg": "RS256", "kid": "key-1", "typ": "JWT"} | dict(header or {})
        body = {"iss": self.issuer, "sub": sub, "typ": "Bearer", "iat": NOW, "exp": NOW + 300}
        body |= {"jti": str(len(self.minted)), "azp": "papi"} | claims
        parts = [{k: v for k, v in part.items() if k not in without} for part in (head, body)]
        token = signed(*parts, key or rsa_key("key-1"))
        told = {"sub": sub, "name": "A. Lice", "eduperson_entitlement": [MEMBER]}
        return self.log_in(token, told if userinfo is None else {"sub": sub, **userinfo})

    def log_in(self, token: str, userinfo: Mapping[str, Any]) -> str:
        """Let `token` be one that userinfo knows."""
        self.people[token] = dict(userinfo)
        self.minted.append(token)
        return token

    def log_out(self, token: str) -> None:
        """Know the token no more."""
        self.people.pop(token, None)

    def answer(self, path: str, token: str) -> tuple[int, object]:
        """Return what a healthy provider says."""
        if path == DISCOVERY:
            told = {"issuer": self.issuer, "jwks_uri": self.origin + KEYS}
            told |= {"userinfo_endpoint": self.origin + USERINFO}
            told |= {"authorization_endpoint": self.origin + LOGIN}
            told |= {"token_endpoint": self.origin + TOKENS}
            return 200, told | self.discovery
        if path == KEYS:
            return 200, {"keys": [*map(jwk, self.published.items()), *self.jwks_extra]}
        if path == USERINFO:
            person = self.people.get(token)
            return (200, person) if person is not None else (401, {"error": "invalid_token"})
        return 404, {}

    def logged_in(self, query: Mapping[str, str]) -> str:
        """Return where a browser is sent that logged in: back, with a code that counts once."""
        code = f"code-{len(self.codes)}-{len(self.minted)}"
        self.codes[code] = dict(query)
        answer = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def tokens_for(self, form: Mapping[str, str]) -> tuple[int, object]:
        """Return the tokens for a code, as RFC 6749 and 7636 have it."""
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        kept = ("redirect_uri", "client_id")
        if (
            asked is None
            or form.get("grant_type") != "authorization_code"
            or asked["code_challenge_method"] != "S256"
            or asked["code_challenge"] != base64url(digest)
            or any(asked[key] != form.get(key) for key in kept)
            or form["client_id"] != CLIENT
        ):
            return 400, {"error": "invalid_grant"}
        claims = {"iss": self.issuer, "sub": "alice", "aud": CLIENT, "nonce": asked["nonce"]}
        claims |= {"iat": NOW, "exp": NOW + 300} | self.id_claims
        header = {"alg": "RS256", "kid": "key-1", "typ": "JWT"}
        id_token = signed(header, claims, self.id_key or rsa_key("key-1"))
        told = {"token_type": "Bearer", "expires_in": 300, "id_token": id_token}
        return 200, told | {"access_token": self.mint()} | self.token_answer


class Handler(BaseHTTPRequestHandler):
    """Answers one request, or spoils it."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        provider = self.server.provider
        provider.calls[self.path] += 1
        self.close_connection = True
        fault = provider.faults.get(self.path)
        # Whoever asks may give up first; that is the point of most faults.
        with suppress(OSError):
            if fault is not None:
                fault(self)
                return
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, told = provider.answer(self.path, token)
            self.send_json(status, told)

    def do_POST(self) -> None:
        provider = self.server.provider
        provider.calls[self.path] += 1
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        with suppress(OSError):
            if (fault := provider.faults.get(self.path)) is not None:
                fault(self)
            elif self.path == TOKENS:
                self.send_json(*provider.tokens_for(dict(parse_qsl(body))))
            else:
                self.send_json(404, {})

    def send_json(self, status: int, told: object) -> None:
        body = json.dumps(told).encode()
        self.send(status, body, {"Content-Type": "application/json"})

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, context: ssl.SSLContext, provider: Provider) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.provider = provider
        self._context = context

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = super().get_request()
        # The handshake is done by the first read, in the request's own thread.
        secure = self._context.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        return secure, address

    def handle_error(self, *_: object) -> None:
        return


def answers(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with this status and body."""
    return lambda handler: handler.send(status, body, headers)


def redirects(url: str) -> Fault:
    """Send elsewhere."""
    return answers(302, Location=url)


def hangs(handler: Handler) -> None:
    """Say nothing until the test is over."""
    handler.server.provider.ended.wait()


def waits_for(event: threading.Event) -> Fault:
    """Answer as usual, once `event` is set."""

    def fault(handler: Handler) -> None:
        event.wait(60)
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        handler.send_json(*handler.server.provider.answer(handler.path, token))

    return fault


def drops(handler: Handler) -> None:
    """Close the connection without a word."""


def trickles(head: bytes, every_s: float = 0.02) -> Fault:
    """Send `head`, then a byte now and then, for ever."""

    def fault(handler: Handler) -> None:
        handler.wfile.write(head)
        while not handler.server.provider.ended.wait(every_s):
            handler.wfile.write(b"x")

    return fault


def floods(handler: Handler) -> None:
    """Answer a billion bytes, as fast as they are taken."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(10**9))
    handler.end_headers()
    block = b" " * 65_536
    for _ in range(10**9 // len(block)):
        handler.wfile.write(block)
        handler.server.provider.flooded += len(block)


class Trap:
    """A port of this machine where nobody must call; `caught` says whether somebody did."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)

    def __enter__(self) -> "Trap":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    @property
    def caught(self) -> bool:
        try:
            self._socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True


def signed(header: Mapping[str, Any], claims: Any, key: Any) -> str:
    """Return a token signed as its header says; an unsigned one where that is no algorithm."""
    text = f"{encoded(header)}.{encoded(claims)}"
    algorithm = get_default_algorithms().get(str(header.get("alg")))
    if algorithm is None or key is None:
        return f"{text}."
    signature = algorithm.sign(text.encode(), key)
    return f"{text}.{base64url(signature)}"


def encoded(part: Any) -> str:
    """Return one part of a token."""
    return base64url(json.dumps(part).encode())


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwk(named: tuple[str, Any]) -> dict[str, Any]:
    """Return a private key's public half as an entry of a JWKS."""
    name, key = named
    kind = {rsa.RSAPrivateKey: "RS256", ed25519.Ed25519PrivateKey: "EdDSA"}
    algorithm = next((a for k, a in kind.items() if isinstance(key, k)), None)
    if algorithm is None:
        algorithm = {256: "ES256", 384: "ES384", 521: "ES512"}[key.key_size]
    public = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    return {name: value for name, value in public.items() if name != "key_ops"} | {
        "kid": name,
        "use": "sig",
    }


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key that is made once per run."""
    return rsa.generate_private_key(65_537, bits)


@cache
def ec_key(curve: str) -> ec.EllipticCurvePrivateKey:
    """Return a key on `SECP256R1`, `SECP384R1` or `SECP521R1`."""
    return ec.generate_private_key(getattr(ec, curve)())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Write a CA and a server's key with its certificate for 127.0.0.1."""
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"of {folder.name}"[:64])])
    now = datetime.now(UTC)

    def builder(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    ca = builder(ca_name, ca_key).add_extension(x509.BasicConstraints(True, None), critical=True)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = builder(name, server_key).add_extension(here, critical=False)
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    pem = serialization.Encoding.PEM
    ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    server_file.write_bytes(
        server_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + server.sign(ca_key, hashes.SHA256()).public_bytes(pem)
    )
    return ca_file, server_file
