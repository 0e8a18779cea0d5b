"""One deployment behind one of two doors: `python -m tests.bench.doors FOLDER PORT [ISSUER]`.

With an issuer its tokens are checked, as in production; without one everybody is let in. All else
is the same, so that what differs is the price of the check.
"""

import os
import sys
from pathlib import Path
from typing import Final

import uvicorn

from api.app import create_app
from api.auth import Authenticator, Role, User
from api.serve import running, services_of
from api.trust import oidc_authenticator
from reconciler.auth_sections import AuthSettings
from specs.model import Owner
from tests.bench.site import VO, open_site

EVERYBODY: Final = User(Owner("https://op", "alice"), "A. Lice", {VO: frozenset({Role.USER})})


class OpenDoor:
    """Lets in whoever asks, as one user."""

    def known(self, _token: str) -> User:
        return EVERYBODY

    def __call__(self, _token: str) -> User:
        return EVERYBODY


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
