"""Does a plain install of this folder work, away from it? Run by `.ci/run`.

Builds the wheel as pip does, installs it into a new environment, and uses it from an empty folder:
the two programs start, `etc/` is there, a store opens and the seed's imports hold.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

USE = """
import os
from ai4papi.routers.v1 import deployments
from reconciler.runtime import open_runtime
from reconciler.settings import load_settings
import api, specs
from api.reference import PAGES
assert api.DISTRIBUTION == "ai4papi"
assert (PAGES / "swagger-ui/swagger-ui.css").is_file()
runtime = open_runtime(load_settings({"AI4PAPI_CLUSTER": "simulated", "AI4PAPI_AUTH": "local"}))
assert "usergroup" in runtime.settings.job_template
groups = runtime.targets[0].template()["TaskGroups"]
print("etc from", runtime.settings.etc, "| template groups", len(groups))
runtime.stop()
"""


def main() -> int:
    """Return 0 where the installed package works."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run(sys.executable, "-m", "venv", str(home / "venv"), cwd=home)
        binaries = home / "venv/bin"
        run(str(binaries / "pip"), "install", "-q", str(ROOT), cwd=home)
        for words in (["ai4papi", "--help"], ["ai4papi-run", "--help"], ["pip", "check"]):
            run(str(binaries / words[0]), *words[1:], cwd=home)
        told = run(str(binaries / "python"), "-c", USE, cwd=home)
        print(told.strip())
        assert str(home / "venv") in told, "etc/ was not taken from the installation"
    return 0


def run(*command: str, cwd: Path) -> str:
    """Run a command in `cwd`; return what it printed, or stop with what it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = f"{' '.join(command)} ended with {done.returncode}"
        raise SystemExit(f"{told}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
