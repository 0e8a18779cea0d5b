"""Provoke each case of `cases.py` on a Nomad of our own and write down what its API answers.

For maintainers, by hand and as root, after an upgrade of Nomad: `python -m tests.recorded.record`.
It needs what the end-to-end tests need, the example device plugin among it. A case that could not
be provoked is named at the end, and its old recording stays.
"""

import json
import os
import sys
import tempfile
import urllib.error
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.real import DevAgent, find_nomad, wait_until
from tests.recorded.cases import NO_NODES, ON_LOST_NODE, PLACED, TAKER, UNPLACED, Case, job_of
from tests.recorded.stage import (
    agent_config,
    make_image,
    remove_containers,
    second_client,
    serve_registry,
)

HERE: Final = Path(__file__).parent
KEPT: Final = {
    "evaluation": "ID Namespace JobID Type Status StatusDescription TriggeredBy BlockedEval"
    " CreateIndex ModifyIndex FailedTGAllocs QueuedAllocations",
    "allocation": "ID Namespace JobID CreateIndex ModifyIndex ClientStatus ClientDescription"
    " DesiredStatus DesiredDescription NodeID NodeName DeploymentStatus TaskStates",
}


def register(agent: DevAgent, case: Case) -> None:
    try:
        agent.call("POST", "/v1/jobs", {"Job": job_of(case)})
    except urllib.error.HTTPError as error:
        print(f"{case.name}: {error.read().decode()}", file=sys.stderr)


def newest(agent: DevAgent, case: Case) -> Any:
    """Return the newest answer that shows the case, or None."""
    stubs = agent.call("GET", f"/v1/job/{case.name}/{case.kind}s")
    answers = (agent.call("GET", f"/v1/{case.kind}/{stub['ID']}") for stub in stubs)
    return next((answer for answer in answers if case.shows(answer)), None)


def record(agent: DevAgent, case: Case) -> str:
    """Write the case down once it shows; return its name where it does not."""
    answer: Any = None

    def shown() -> bool:
        # Kept, because the next answer may show it no more.
        nonlocal answer
        answer = newest(agent, case)
        return answer is not None

    try:
        wait_until(shown, within_s=40, what=case.name)
    except (TimeoutError, urllib.error.HTTPError) as error:
        print(error, agent.cli("job", "status", case.name), file=sys.stderr)
        return case.name
    kept = {key: answer.get(key) for key in KEPT[case.kind].split()}
    if case.kind == "allocation":
        kept["Job"] = {"Version": answer["Job"]["Version"]}
    (HERE / f"{case.name}.json").write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return ""


def main() -> None:
    """Record everything; exit 1 where a case is missing."""
    serve_registry()
    make_image()
    plugins = Path(find_nomad() or "").resolve().parent.parent / "plugins"
    plugins = Path(os.environ.get("AI4PAPI_TEST_DEVICE_PLUGIN", plugins / "nomad-device-example"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        home = Path(name)
        with DevAgent(home, more=agent_config(home), plugins=plugins.parent) as agent:
            missing = record_all(agent, home)
    remove_containers()
    print("missing:", *missing or ["nothing"])
    sys.exit(bool(missing))


def record_all(agent: DevAgent, home: Path) -> list[str]:
    """Record every case on `agent`; return the names of those that did not show."""
    with second_client(agent, home):
        wait_until(lambda: _healthy_nodes(agent) == 2, within_s=60, what="two nodes with Docker")
        for case in (TAKER, *ON_LOST_NODE):
            register(agent, case)
        for case in (TAKER, *ON_LOST_NODE):
            wait_until(partial(_runs, agent, case), within_s=60, what=case.name)
        for case in (*PLACED, *UNPLACED):
            register(agent, case)
        missing = [record(agent, case) for case in (*UNPLACED, *PLACED)]
    missing += [record(agent, case) for case in ON_LOST_NODE]
    for node in agent.call("GET", "/v1/nodes"):
        body = {"NodeID": node["ID"], "Eligibility": "ineligible"}
        agent.call("POST", f"/v1/node/{node['ID']}/eligibility", body)
    register(agent, NO_NODES)
    return [name for name in (*missing, record(agent, NO_NODES)) if name]


def _healthy_nodes(agent: DevAgent) -> int:
    drivers = [node["Drivers"].get("docker", {}) for node in agent.call("GET", "/v1/nodes")]
    return sum(bool(docker.get("Healthy")) for docker in drivers)


def _runs(agent: DevAgent, case: Case) -> bool:
    found = agent.call("GET", f"/v1/job/{case.name}/allocations")
    return any(allocation["ClientStatus"] == "running" for allocation in found)


if __name__ == "__main__":
    main()
