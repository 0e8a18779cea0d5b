"""Our server as a process of its own that takes the tokens of a real provider."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.e2e.keycloak import Keycloak
from tests.e2e.keycloak_realm import AI4EOSC, DEVICE, IMAGINE
from tests.e2e.server import ROOT, Server


class OidcServer(Server):
    """`ai4papi-run` with a simulated cluster, for users of the realm `egi`."""

    def __init__(self, home: Path, provider: Keycloak, ca: Path) -> None:
        super().__init__(home, {**os.environ})
        del self.environ["AI4PAPI_LOCAL_TOKEN"]
        self.environ |= {
            "AI4PAPI_AUTH": "oidc",
            "AI4PAPI_CLUSTER": "simulated",
            "AI4PAPI_ETC": str(_etc(home / "etc", provider)),
            "SSL_CERT_FILE": str(ca),
            "REQUESTS_CA_BUNDLE": str(ca),
            "XDG_CONFIG_HOME": str(home / "config"),
        }
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    def ask(
        self, token: str, method: str = "GET", path: str = "/v1/specs", **options: Any
    ) -> httpx.Response:
        """Send one request with this token."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.http.request(method, path, headers=headers, **options)

    def said(self, token: str) -> int:
        """Return the status that a list of one's deployments gets."""
        return self.ask(token).status_code

    def put(self, token: str, name: str, vo: str = AI4EOSC) -> httpx.Response:
        """Declare a small deployment that rests."""
        manifest = {
            "apiVersion": "ai4papi/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "vo": vo},
            "spec": {"suspend": True},
        }
        return self.ask(token, "PUT", f"/v1/specs/{name}", json=manifest)

    def command(self, *words: str) -> subprocess.Popen[str]:
        """Start a command line that has no token but what it keeps itself."""
        return subprocess.Popen(
            [sys.executable, "-c", "from api.cli import main; main()", *words],
            env={**self.environ, "AI4PAPI_SERVER": self.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
        )

    def finished(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end."""
        process = self.command(*words)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def stop(self) -> None:
        super().stop()
        self.http.close()


class Since:
    """How long ago something happened."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def left_of(self, span_s: float) -> float:
        """Return the seconds until `span_s` have passed, at least 0."""
        return max(0.0, span_s - (time.monotonic() - self._began))


def _etc(folder: Path, provider: Keycloak) -> Path:
    """Copy the shipped `etc/`, with the realm `egi` in the place of EGI's."""
    shutil.copytree(ROOT / "etc", folder)
    file = folder / "main_conf.yaml"
    conf = yaml.safe_load(file.read_text())
    conf["auth"] |= {
        "OP": [provider.issuer()],
        "VO": [AI4EOSC, IMAGINE],
        "roles": {"operator": ["vm_operator"], "auditor": ["auditor"]},
    }
    conf["auth"]["entitlements"]["from_token"] = True
    conf["auth"]["realm_roles"]["claim"] = "realm_access.roles"
    if "client_id" in conf["auth"]:
        conf["auth"]["client_id"] = DEVICE
    file.write_text(yaml.safe_dump(conf))
    return folder
