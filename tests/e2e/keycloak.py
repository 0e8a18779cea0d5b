"""A real Keycloak of one run: on free loopback ports, with TLS by an authority of the tests' own.

It can be stopped and started again on the same port with what it knew.
"""

import json
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
from html import unescape
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin

import httpx

from tests.authority import Authority
from tests.e2e.keycloak_realm import EGI, IN_USERINFO, STRANGER, realm
from tests.e2e.keycloak_tree import built_tree
from tests.real import a_free_port, wait_until

ADMIN: Final = "admin"
HEAP: Final = "-Xms64m -Xmx400m"
QUICK: Final = "-XX:TieredStopAtLevel=1"
"""Less compiling: a test run ends before the rest would pay."""

START_S: Final = 300

_ACTION: Final = re.compile(r'<form[^>]*\saction="([^"]+)"')
_HIDDEN: Final = re.compile(r'<input[^>]*type="hidden"[^>]*>')
_ATTRIBUTE: Final = re.compile(r'(name|value)="([^"]*)"')


class Tokens(NamedTuple):
    """What one login gave."""

    access: str
    refresh: str
    identity: str


class Keycloak:
    """The provider; `with` starts and stops it. Not before `start` does anything answer."""

    def __init__(self, home: Path, authority: Authority) -> None:
        self._tree, self._log = home / "keycloak", home / "keycloak.log"
        self._port, self._management = a_free_port(), a_free_port()
        self._certificate, self._key = authority.issue("127.0.0.1")
        self.password = secrets.token_urlsafe(12)
        self._process: subprocess.Popen[bytes] | None = None
        self._context = ssl.create_default_context(cafile=str(authority.file))
        self.http = httpx.Client(verify=self._context, trust_env=False, timeout=30)

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def issuer(self, name: str = EGI) -> str:
        return f"{self.address}/realms/{name}"

    def endpoint(self, path: str, name: str = EGI) -> str:
        return f"{self.issuer(name)}/protocol/openid-connect/{path}"

    def prepare(self) -> None:
        """Put a tree of its own in place, with the realms to import. Raises: NotHere."""
        built = built_tree()
        try:
            shutil.copytree(built, self._tree, copy_function=os.link)
        except (OSError, shutil.Error):  # the cache is on another device
            shutil.copytree(built, self._tree, dirs_exist_ok=True)
        imported = self._tree / "data/import"
        imported.mkdir(parents=True)
        for name in (EGI, STRANGER):
            whole = realm(name, password=self.password)
            (imported / f"{name}-realm.json").write_text(json.dumps(whole))

    def start(self) -> None:
        """Start it and wait until both realms answer."""
        options = [
            f"--hostname={self.address}",
            "--http-host=127.0.0.1",
            f"--https-port={self._port}",
            f"--http-management-port={self._management}",
            f"--https-certificate-file={self._certificate}",
            f"--https-certificate-key-file={self._key}",
            "--cache=local",
        ]
        environ = {
            **os.environ,
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self.password,
            "JAVA_OPTS_KC_HEAP": HEAP,
            "JAVA_OPTS_APPEND": QUICK,
        }
        command = [self._tree / "bin/kc.sh", "start", "--optimized", "--import-realm", *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(self._answers, within_s=START_S, every_s=0.25, what="Keycloak")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it as an operator would; what it knows stays."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def login(
        self, user: str, *, client: str = IN_USERINFO, name: str = EGI, scope: str = "openid"
    ) -> Tokens:
        """Log in by password."""
        form = {
            "grant_type": "password",
            "client_id": client,
            "username": user,
            "password": self.password,
            "scope": scope,
        }
        answer = self._post(self.endpoint("token", name), form).json()
        return Tokens(answer["access_token"], answer["refresh_token"], answer.get("id_token", ""))

    def token(self, user: str, *, client: str = IN_USERINFO, name: str = EGI) -> str:
        """Return an access token, by password."""
        return self.login(user, client=client, name=name).access

    def logout(self, tokens: Tokens, *, client: str = IN_USERINFO) -> None:
        """End the session, as a user does who logs out."""
        form = {"client_id": client, "refresh_token": tokens.refresh}
        self._post(self.endpoint("logout"), form)

    def revoke(self, token: str, *, client: str = IN_USERINFO) -> None:
        """Revoke one token (RFC 7009)."""
        self._post(self.endpoint("revoke"), {"client_id": client, "token": token})

    def refuses(self, token: str) -> bool:
        """Whether the provider itself knows the token no more."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.http.get(self.endpoint("userinfo"), headers=headers).status_code == 401

    def set_entitlements(self, user: str, entitlements: list[str]) -> None:
        """Replace a user's memberships."""
        (found,) = self._admin("GET", f"users?exact=true&username={user}")
        found["attributes"]["eduperson_entitlement"] = entitlements
        self._admin("PUT", f"users/{found['id']}", found)

    def rotate_keys(self) -> str:
        """Sign with a new key from now on; return what `drop_key` forgets the old one by."""
        before = self._signing_key()
        self._admin(
            "POST",
            "components",
            {
                "name": f"rotated-{secrets.token_hex(4)}",
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {"priority": ["500"], "algorithm": ["RS256"]},
            },
        )
        return before

    def drop_key(self, component: str) -> None:
        """Forget a key: what it signed is nobody's any more."""
        self._admin("DELETE", f"components/{component}")

    def approve(self, verification_uri: str, user: str) -> None:
        """Do what a person does in the browser to whom a device showed its address and code."""
        with httpx.Client(verify=self._context, trust_env=False) as page:
            answer = page.get(verification_uri, follow_redirects=True)
            answer = _submit(page, answer, username=user, password=self.password)
            answer = _submit(page, answer, accept="Yes")
        assert "device" in answer.url.path, answer.url

    def __enter__(self) -> "Keycloak":
        self.prepare()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        self.http.close()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"Keycloak ended: {self._log.read_text()[-3000:]}")
        path = "/.well-known/openid-configuration"
        try:
            return all(self.http.get(self.issuer(n) + path).is_success for n in (EGI, STRANGER))
        except httpx.TransportError:
            return False

    def _signing_key(self) -> str:
        """Return the component of the active RS256 key."""
        told = self._admin("GET", "keys")
        active = told["active"]["RS256"]
        (component,) = {key["providerId"] for key in told["keys"] if key["kid"] == active}
        return str(component)

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": ADMIN,
            "password": self.password,
        }
        token = self._post(self.endpoint("token", "master"), form).json()["access_token"]
        url = f"{self.address}/admin/realms/{EGI}/{path}"
        answer = self.http.request(
            method, url, json=body, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.is_success, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def _post(self, url: str, form: dict[str, str]) -> httpx.Response:
        answer = self.http.post(url, data=form)
        assert answer.is_success, (answer.status_code, answer.text)
        return answer


def _submit(page: httpx.Client, answer: httpx.Response, **fields: str) -> httpx.Response:
    """Send the form of a page with what it hides and these fields."""
    assert answer.is_success, (answer.status_code, answer.text)
    action = _ACTION.search(answer.text)
    assert action is not None, answer.text
    hidden = (dict(_ATTRIBUTE.findall(each)) for each in _HIDDEN.findall(answer.text))
    form = {each["name"]: unescape(each.get("value", "")) for each in hidden if "name" in each}
    url = urljoin(str(answer.url), unescape(action[1]))
    return page.post(url, data=form | fields, follow_redirects=True)
