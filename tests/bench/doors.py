"""What checking a token costs: one deployment behind one of two doors.

`python -m tests.bench.doors FOLDER PORT [ISSUER]` is a server: with an issuer its tokens are
checked, as in production; without one everybody is let in. All else is the same.
"""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import requests
import uvicorn

from api.app import create_app
from api.auth import Authenticator, Role, User
from api.serve import running, services_of
from api.trust import oidc_authenticator
from reconciler.auth_sections import AuthSettings
from specs.model import Owner
from tests.bench.figures import Figure, at_least
from tests.bench.place import Place
from tests.bench.processes import MANIFEST, OwnProcess, await_answer
from tests.bench.reads import load
from tests.bench.site import VO, open_site
from tests.provider import Provider
from tests.real import a_free_port, wait_until

EVERYBODY: Final = User(Owner("https://op", "alice"), "A. Lice", {VO: frozenset({Role.USER})})


class OpenDoor:
    """Lets in whoever asks, as one user."""

    def known(self, _token: str) -> User:
        return EVERYBODY

    def __call__(self, _token: str) -> User:
        return EVERYBODY


def measure(place: Place) -> list[Figure]:
    """`GET status` a second with a known OIDC token, beside a door that lets everybody in.

    The requests are the same to the byte; every other round takes the two in the other order.
    """
    home = place.sub("door")
    ports = {"oidc": a_free_port(), "open": a_free_port()}
    rates: dict[str, list[float]] = {door: [] for door in ports}
    with ExitStack() as stack:
        provider = stack.enter_context(Provider(home))
        token = provider.mint(iat=int(time.time()), exp=int(time.time()) + 3600)
        headers = {"Authorization": f"Bearer {token}"}
        for door, port in ports.items():
            command = [sys.executable, "-m", "tests.bench.doors", str(home / door), str(port)]
            command += [provider.issuer] if door == "oidc" else []
            environ = {"SSL_CERT_FILE": str(provider.ca_file)}
            stack.enter_context(OwnProcess(command, environ))
            _declare(f"http://127.0.0.1:{port}", headers)
        for number in range(4 + 4 * place.rounds):
            for door, port in list(ports.items())[:: -1 if number % 2 else 1]:
                loaded = load(port, "/v1/specs/bench/status", token=token, seconds=1)
                rates[door].append(loaded["rate"])
    name = "GET status with a known token"
    ours, floors = tuple(rates["oidc"]), tuple(rates["open"])
    return [Figure(name, "requests/s", ours, floors, at_least(0.9))]


def _declare(base: str, headers: Mapping[str, str]) -> None:
    def is_running() -> bool:
        answer = requests.get(f"{base}/v1/specs/bench/status", headers=headers, timeout=5)
        return bool(answer.ok and answer.json()["phase"] == "Running")

    await_answer(f"{base}/readyz")
    manifest = {**MANIFEST, "metadata": {"name": "bench"}}
    requests.put(f"{base}/v1/specs/bench", json=manifest, headers=headers, timeout=10)
    wait_until(is_running, within_s=60)


def main(folder: Path, port: int, issuer: str | None) -> None:
    door: Authenticator = OpenDoor()
    if issuer is not None:
        door = oidc_authenticator(AuthSettings(OP=(issuer,), VO=(VO,)), os.environ)
    folder.mkdir()
    with open_site(folder, None) as runtime:
        app = create_app(services_of(runtime, door), running=running(runtime))
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), next(iter(sys.argv[3:]), None))
