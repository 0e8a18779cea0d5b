"""Known advisories against the locked dependencies: `make check` runs this.

pip-audit counts a package that it could not look up as fine. Here it is counted as not audited,
aloud, and any advisory fails.
"""

import json
import subprocess
import sys


def main() -> int:
    """Return 1 where a locked package has a known advisory."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", "requirements.lock"]
    command += ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if not run.stdout.strip():
        print(f"advisories: NOT checked: {run.stderr.strip().splitlines()[-1:]}")
        return 0
    packages = json.loads(run.stdout)["dependencies"]
    audited = [package for package in packages if "skip_reason" not in package]
    vulnerable = [package for package in audited if package["vulns"]]
    print(f"advisories: {len(audited)} of {len(packages)} locked packages audited", end="")
    print("" if len(audited) == len(packages) else " (the advisory service does not know the rest)")
    for package in vulnerable:
        told = ", ".join(advisory["id"] for advisory in package["vulns"])
        print(f"  {package['name']} {package['version']}: {told}")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
