"""Where the tests' Keycloak comes from: found or downloaded once, built once, kept in a cache.

Standard library only, so that `.ci/run` can prepare it while other things run:
`python3 tests/e2e/keycloak_tree.py`; with `--version` it only says what it would prepare.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Final

VERSION: Final = "26.7.4"
SHA256: Final = "a286e98b4296d4e75ee88d8527c7cd463b307caa022f088c9f22cffccc741fa1"
URL: Final = (
    "https://repo1.maven.org/maven2/org/keycloak/keycloak-quarkus-dist/"
    f"{VERSION}/keycloak-quarkus-dist-{VERSION}.zip"
)
TIMEOUT_S: Final = 60


class NotHere(Exception):
    """There is no Keycloak to test with; `str()` says what is missing."""


def find_java() -> str | None:
    """Return the path of `java`, or None where there is none."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(f"{home}/bin/java" if home else "java")


def cache() -> Path:
    """Return the folder that outlives a run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ai4papi-tests"


def built_tree() -> Path:
    """Return a Keycloak that is built and was never started; makes it where it is missing.

    Safe when several runs ask at once. Raises: NotHere.
    """
    if find_java() is None:
        raise NotHere("no `java`: install Debian's default-jre-headless")
    built = cache() / f"keycloak-{VERSION}-built"
    if not built.is_dir():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            draft = Path(folder, "keycloak")
            shutil.copytree(_original(Path(folder)), draft)
            _build(draft)
            try:
                draft.rename(built)
            except OSError:
                if not built.is_dir():  # where it is, another run was quicker
                    raise
    return built


def _original(scratch: Path) -> Path:
    """Return an unpacked Keycloak: KEYCLOAK_HOME, the cache's, else a download."""
    if given := os.environ.get("KEYCLOAK_HOME"):
        if not Path(given, "bin/kc.sh").is_file():
            raise NotHere(f"KEYCLOAK_HOME is {given}, and there is no bin/kc.sh in it")
        return Path(given)
    unpacked = cache() / f"keycloak-{VERSION}"
    if (unpacked / "bin/kc.sh").is_file():
        return unpacked
    archive = scratch / "keycloak.zip"
    _download(archive)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(scratch / "unpacked")
    archive.unlink()
    return scratch / "unpacked" / f"keycloak-{VERSION}"


def _download(archive: Path) -> None:
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(URL, timeout=TIMEOUT_S) as answer, archive.open("wb") as file:
            while part := answer.read(1 << 20):
                digest.update(part)
                file.write(part)
    except OSError as error:
        raise NotHere(
            f"no Keycloak: KEYCLOAK_HOME is not set, and {URL} can't be read: {error}"
        ) from error
    if digest.hexdigest() != SHA256:
        raise NotHere(f"{URL} has the SHA-256 {digest.hexdigest()} and not {SHA256}")


def _build(home: Path) -> None:
    (home / "bin/kc.sh").chmod(0o755)  # a zip that Python unpacks loses it
    command = [home / "bin/kc.sh", "build", "--db=dev-file", "--health-enabled=true"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise NotHere(f"kc.sh build failed: {(run.stdout + run.stderr).strip()[-2000:]}")


def version() -> str:
    """Return the version that is here, built or to be built, and the one of Java."""
    run = subprocess.run(
        [find_java() or "java", "--version"], capture_output=True, text=True, check=False
    )
    return f"{VERSION}, {run.stdout.splitlines()[0]}"


if __name__ == "__main__":
    try:
        print(version() if "--version" in sys.argv else built_tree())
    except (NotHere, OSError) as fault:
        sys.exit(str(fault))
