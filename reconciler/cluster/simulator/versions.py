"""How a job that is written follows on the one that is stored (pure)."""

from collections.abc import Mapping
from typing import Any

from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.rules import job_faults, told
from reconciler.cluster.simulator.world import Json, World


def identified(sent: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was sent, or raise `Refusal` 400 where it names no job."""
    if not any(name.lower() == "id" and value is not None for name, value in sent.items()):
        raise Refusal(400, "Job ID hasn't been provided")
    return sent


def admit(job: Json, world: World) -> None:
    """Raise `Refusal` 500 where Nomad would not take a canonical job, whatever is stored."""
    if job["Region"] != "global":
        raise Refusal(500, "No path to region")
    faults = faults_in(job, world)
    if faults:
        raise Refusal(500, told(faults))


def faults_in(job: Json, world: World) -> list[str]:
    """Return what is wrong with a canonical job, in itself or where it shall run."""
    faults = job_faults(job)
    if faults:
        return faults
    namespace = world.namespaces.get(job["Namespace"])
    if namespace is None:
        return [f'job "{job["ID"]}" is in nonexistent namespace "{job["Namespace"]}"']
    return _driver_faults(job, namespace)


def _driver_faults(job: Json, namespace: Json) -> list[str]:
    able = namespace["Capabilities"] or {}
    enabled, disabled = able.get("EnabledTaskDrivers"), able.get("DisabledTaskDrivers") or ()
    used = [task["Driver"] for group in job["TaskGroups"] for task in group["Tasks"]]
    refused = [d for d in used if d in disabled or (enabled and d not in enabled)]
    where = f'in namespace "{namespace["Name"]}"'
    if len(refused) > 1:
        listed = " ".join(f'"{driver}"' for driver in refused)
        return [f"used task drivers [{listed}] are not allowed {where}"]
    return [f'used task driver "{driver}" is not allowed {where}' for driver in refused]


def keep_type(stored: Json | None, job: Json) -> None:
    """Raise `Refusal` 500 where a register would change the job's type. A plan does not mind."""
    if stored is not None and stored["Type"] != job["Type"]:
        was, now = stored["Type"], job["Type"]
        raise Refusal(500, f'cannot update job from type "{was}" to "{now}"')


def enforce(stored: Json | None, if_index: int | None) -> None:
    """Raise `Refusal` 500 where the job is not at the index that the writer decided on."""
    if if_index is None:
        return
    if stored is None:
        if if_index:
            raise Refusal(500, f"Enforcing job modify index {if_index}: job does not exist")
        return
    held = stored["JobModifyIndex"]
    if if_index == 0:
        raise Refusal(500, "Enforcing job modify index 0: job already exists")
    if if_index != held:
        raise Refusal(
            500,
            f"Enforcing job modify index {if_index}:"
            f" job exists with conflicting job modify index: {held}",
        )


def allow_count(group: Json, count: int) -> None:
    """Raise `Refusal` 400 where the group may not be scaled to this count."""
    if count < 0:
        raise Refusal(400, "scaling action count can't be negative")
    policy = group["Scaling"]
    if policy and count < policy["Min"]:
        why = f"group count was less than scaling policy minimum: {count} < {policy['Min']}"
        raise Refusal(400, why)
    if policy and count > policy["Max"]:
        why = f"group count was greater than scaling policy maximum: {count} > {policy['Max']}"
        raise Refusal(400, why)


def next_version(stored: Json | None, job: Json, *, index: int, now_ns: int) -> Json:
    """Return the job as the next version after what is stored, or as the first one."""
    if stored is None:
        return {
            **job,
            "Status": "pending",
            "Stable": False,
            "Version": 0,
            "CreateIndex": index,
            "ModifyIndex": index,
            "JobModifyIndex": index,
            "SubmitTime": now_ns,
        }
    return versioned(job, stored, index=index, now_ns=now_ns)


def versioned(job: Json, stored: Json, *, index: int, now_ns: int) -> Json:
    """Return the job as the next version after the stored one."""
    return {
        **job,
        "Status": stored["Status"],
        "StatusDescription": stored["StatusDescription"],
        "Stable": False,
        "Version": stored["Version"] + 1,
        "CreateIndex": stored["CreateIndex"],
        "ModifyIndex": index,
        "JobModifyIndex": index,
        "SubmitTime": now_ns,
    }


def written(index: int, evaluation: Json) -> Json:
    """Return Nomad's answer to a write of a job."""
    return {
        "EvalCreateIndex": evaluation["CreateIndex"],
        "EvalID": evaluation["ID"],
        "Index": index,
        "JobModifyIndex": index,
        "Warnings": "",
    }
