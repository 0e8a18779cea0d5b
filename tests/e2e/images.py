"""Images for the end-to-end tests, made here where no image registry is in reach.

The base is a Debian tree (`debootstrap`) with Python and git, the wheels come by pip's own
configuration. Both are kept between runs in AI4PAPI_TEST_IMAGES, by default below /var/tmp.
AI4PAPI_TEST_PLATFORM names an image of the platform that was built before.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "ai4papi-test-base:bookworm"
PLATFORM = "ai4papi-test:latest"
POSTGRES = "ai4papi-test-postgres:15"
KEPT = Path(os.environ.get("AI4PAPI_TEST_IMAGES", "/var/tmp/ai4papi-test-images"))
PARTS = ("api", "docker", "etc", "reconciler", "specs", "pyproject.toml", "README.md", "LICENSE")

START_POSTGRES = r"""#!/bin/sh
# What the official image does of which docker/compose.yaml makes use.
set -eu
bin=/usr/lib/postgresql/15/bin data=/var/lib/postgresql/data
install -d -o postgres -g postgres -m 0700 "$data"
as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
if [ ! -s "$data/PG_VERSION" ]; then
  cp "$POSTGRES_PASSWORD_FILE" /tmp/password && chown postgres /tmp/password
  as $bin/initdb -D "$data" -A scram-sha-256 -U "$POSTGRES_USER" --pwfile=/tmp/password
  echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
  PGPASSWORD=$(cat /tmp/password); export PGPASSWORD
  as $bin/pg_ctl -D "$data" -o '-c listen_addresses= -k /tmp' -w start
  as $bin/createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB" || true
  as $bin/pg_ctl -D "$data" -m fast -w stop
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups \
  $bin/postgres -D "$data" -k /tmp -c "listen_addresses=${LISTEN:-*}" -c "port=${PGPORT:-5432}"
"""


def run(*command: object, **options: object) -> str:
    """Run a program; return what it printed, or raise with it."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} {command[1]}: {done.stdout[-4000:]}")
    return str(done.stdout)


def base_image() -> str:
    """Return the base, made where it is missing; skip where it can't be."""
    if not _has(BASE):
        if shutil.which("debootstrap") is None or os.geteuid() != 0:
            pytest.skip("no base image, and no `debootstrap` and root to make one")
        tree = KEPT / "base"
        if not (tree / "usr/bin/python3").exists():
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir(parents=True)
            run(
                "debootstrap",
                "--variant=minbase",
                "--include=python3,python3-venv,ca-certificates,git",
                "bookworm",
                tree,
            )
        _import(tree, BASE)
    return BASE


def postgres_image() -> str:
    """Return PostgreSQL on the base, with the start-up of the official image."""
    if not _has(POSTGRES):
        base_image()
        if shutil.which("debootstrap") is None or os.geteuid() != 0:
            pytest.skip("no image of PostgreSQL, and no `debootstrap` and root to make one")
        tree = KEPT / "postgres"
        if not (tree / "usr/lib/postgresql/15/bin/postgres").exists():
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir(parents=True)
            run("debootstrap", "--variant=minbase", "--include=postgresql", "bookworm", tree)
        start = tree / "start"
        start.write_text(START_POSTGRES)
        start.chmod(0o755)
        _import(tree, POSTGRES, "--change", 'ENTRYPOINT ["/start"]')
    return POSTGRES


def platform_image(folder: Path) -> str:
    """Build docker/Dockerfile on the base, with wheels from a folder; `folder` is the context."""
    if built := os.environ.get("AI4PAPI_TEST_PLATFORM"):
        return built
    base = base_image()
    wheels = KEPT / "wheels"
    if not list(wheels.glob("hatchling-*")):
        lock = ROOT / "docker/requirements.lock"
        pip = ("python3.11", "-m", "pip", "download", "-q", "-d", wheels)
        run(*pip, "--require-hashes", "-r", lock)
        run(*pip, "hatchling>=1.27")
    for part in PARTS:
        there, here = ROOT / part, folder / part
        if there.is_dir():
            shutil.copytree(there, here, ignore=shutil.ignore_patterns("__pycache__", "secrets"))
        else:
            shutil.copy2(there, here)
    shutil.copytree(wheels, folder / "docker/wheels")
    shutil.copy2(ROOT / ".dockerignore", folder)
    arguments = (f"BASE={base}", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/src/docker/wheels")
    run(
        *("docker", "build", "-f", folder / "docker/Dockerfile", "-t", PLATFORM),
        *(word for argument in arguments for word in ("--build-arg", argument)),
        folder,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )
    return PLATFORM


def _has(image: str) -> bool:
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _import(tree: Path, image: str, *options: str) -> None:
    with subprocess.Popen(["tar", "-C", str(tree), "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
        run("docker", "import", *options, "-", image, stdin=tar.stdout)
