"""The table at the end of `.ci/run`: which real part was there, and what ran against it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

MUST_RUN = ("PostgreSQL", "Docker engine", "Keycloak", "git", "OpenSSH server", "Chromium")
"""Parts that registries have: a run that skipped them has not shown what it should."""

WITH_CONTAINERS = (
    "test_docker",
    "test_lifecycle",
    "test_by_hand",
    "test_outage",
    "test_orphans",
    "test_adopt",
    "e2e.test_modules",
    "e2e.test_logs",
)
"""Modules of e2e cases with containers; those with devices need a plugin that Debian has not."""


def main(report: Path, nomad: str) -> int:
    """Print the table from the JUnit files in `report`; 1 where a part that must run did not."""
    cases = [
        case for file in sorted(report.glob("*.xml")) for case in ET.parse(file).iter("testcase")
    ]
    parts: list[tuple[str, list[str], Callable[[str], bool]]] = [
        (
            "Nomad",
            [nomad, "version"],
            lambda name: (
                "[nomad" in name
                or "-nomad" in name
                or ("e2e" in name and "test_keycloak" not in name and "test_page" not in name)
            ),
        ),
        (
            "Docker engine",
            ["docker", "version", "--format", "{{.Server.Version}}"],
            lambda name: any(module in name for module in WITH_CONTAINERS),
        ),
        ("PostgreSQL", ["psql", "--version"], lambda name: "postgres" in name),
        ("git", ["git", "--version"], lambda name: "test_git" in name),
        ("OpenSSH server", ["ssh", "-V"], lambda name: "test_git" in name and "ssh" in name),
        ("Chromium", ["chromium", "--version"], lambda name: "e2e.test_page" in name),
        (
            "Keycloak",
            [sys.executable, str(Path(__file__).parent / "e2e/keycloak_tree.py"), "--version"],
            lambda name: "test_keycloak" in name,
        ),
    ]
    failed = 0
    print(f"{'part':<16}{'version':<32}{'ran':>6}{'skipped':>9}  why")
    for part, ask, concerns in parts:
        mine = [c for c in cases if concerns(f"{c.get('classname')}.{c.get('name')}")]
        skipped = [c for c in mine if c.find("skipped") is not None]
        why = {str(c.find("skipped").get("message")) for c in skipped}  # type: ignore[union-attr]
        ran = len(mine) - len(skipped)
        print(f"{part:<16}{version_of(ask):<32}{ran:>6}{len(skipped):>9}  {'; '.join(sorted(why))}")
        # Containers run through Nomad: without one there is nothing to show on Docker.
        needless = part == "Docker engine" and not nomad
        if part in MUST_RUN and not needless and (ran == 0 or skipped):
            failed = 1
            print(f"  {part} must run here and did not")
    passed = sum(c.find("failure") is None and c.find("error") is None for c in cases)
    print(f"all cases: {len(cases)}, not failed: {passed}")
    return failed


def version_of(ask: list[str]) -> str:
    """Return the first line of what the part says of its version."""
    try:
        run = subprocess.run(ask, capture_output=True, text=True, check=False)
    except OSError:
        return "not here"
    return ((run.stdout or run.stderr).strip().splitlines() or ["not here"])[0][:30]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
