"""Jobs that the platform before this one started: what they are, and what would take them over
(pure).

Two shapes are known. The older one has ids `userjob-<uuid>` and the task `usertask`; the newer one
has bare uuids, names `module-<uuid>` and the task `main` beside helpers. Both say in Meta whose
they are. What is taken into the record is what a spec can say; of the job itself only those fields
are kept that say what runs, and no other word of its Env: there may be passwords in it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.diff import FOUND
from reconciler.jobs import Job, JobRef, Json
from reconciler.render import GROUP, SECRET_ENV, Site, found_digest, running_part
from specs.images import split_reference
from specs.model import (
    DNS_LABEL,
    SECRET_SET,
    Applied,
    Deployment,
    DeploymentSpec,
    General,
    Hardware,
    Owner,
    Storage,
    secret_name,
)
from specs.priorities import USUAL_PRIORITY

THEIRS: Final = re.compile(r"(userjob|module)-.*", re.DOTALL)
"""How the id or the name of such a job begins."""

UID: Final = re.compile(DNS_LABEL)
"""What an id must be to serve as a deployment's uid and name, here and in every address."""

SUBJECT: Final = re.compile(r"[!-~]{1,255}")
"""A subject as identity providers give it."""

TASKS: Final = ("usertask", "main")
COMMAND: Final = "deep-start"
SERVICE: Final = re.compile(r"--([a-z0-9][a-z0-9_-]*)", re.ASCII)
DEVICES: Final = ("gpu", "nvidia/gpu")
"""What the platforms before this one asked for, beside the site's own device."""

STORAGE_ENV: Final = {
    "RCLONE_CONFIG": "rclone_conf",
    "RCLONE_CONFIG_RSHARE_URL": "rclone_url",
    "RCLONE_CONFIG_RSHARE_VENDOR": "rclone_vendor",
    "RCLONE_CONFIG_RSHARE_USER": "rclone_user",
}
KNOWN_ENV: Final = frozenset({*STORAGE_ENV, *SECRET_ENV.values(), "RCLONE_CONFIG_RSHARE_TYPE"})
KNOWN_CONFIG: Final = frozenset({"image", "command", "args", "ports", "image_pull_timeout"})
KEPT_META: Final = ("owner", "title", "description")
MHZ_PER_CPU: Final = 1000
"""How many MHz one CPU is where the site counts whole cores and the job says MHz."""


@dataclass(frozen=True, slots=True)
class Found:
    """One job of the platform before this one.

    `why_not` says why it can't be taken over ("": it can: `record` and `secrets` are what to store
    then). `left_out` is what it has and a spec can't say: it runs on with it, and without it after
    the first change of what runs.
    """

    ref: JobRef
    name: str = ""
    owner: str = ""
    title: str = ""
    image: str = ""
    resources: Mapping[str, Any] = field(default_factory=dict)
    index: int = 0
    why_not: str = ""
    left_out: tuple[str, ...] = ()
    record: Deployment | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class NotAdoptable(Exception):
    """The job can't be taken over; the text says why, and what to do."""


def may_be_theirs(job: Job) -> bool:
    """Whether an entry of a list may be such a job: it has an owner and a title, and goes on."""
    return not (job.managed or job.stopped) and {"owner", "title"} <= job.meta.keys()


def is_theirs(live: Json) -> bool:
    """Whether a job that was read is one of theirs, by its id or its name, and a service."""
    named = any(THEIRS.fullmatch(str(live.get(key))) for key in ("ID", "Name"))
    return named and live.get("Type") == "service" and not live.get("Stop")


def examine(live: Json, site: Site, issuers: Sequence[str]) -> Found:
    """Return what a job of theirs is and what would take it over.

    `issuers` are the identity providers whose subject its owner may be: Meta does not say whose.
    """
    found, meta = _looks(live), live.get("Meta") or {}
    try:
        group, task = _parts(live)
        spec, secrets = _spec(live, group, task, site)
        owner = _owner(meta, issuers)
    except NotAdoptable as error:
        return replace(found, why_not=str(error))
    uid, index = found.ref.id, found.index
    applied = Applied(
        generation=1,
        secrets_generation=1 if secrets else 0,
        digest=found_digest(meta),
        index=index,
        job={**_kept(live, group, task), FOUND: running_part(spec)},
    )
    record = Deployment(
        uid=uid,
        owner=owner,
        owner_name=str(meta.get("owner_name") or owner.sub),
        vo=spec.general.virtual_organization,
        name=uid,
        spec=spec,
        generation=1,
        secrets_generation=applied.secrets_generation,
        resource_version=0,
        created_at=datetime.fromtimestamp((live.get("SubmitTime") or 0) // 10**9, UTC),
        source={"type": "adopted", "job": uid},
        applied=applied,
    )
    left_out = tuple(_left_out(live, group, task))
    return replace(found, record=record, secrets=secrets, left_out=left_out)


def _looks(live: Json) -> Found:
    """Return what people are shown of any job, whatever its shape."""
    meta = live.get("Meta") or {}
    tasks = [t for g in live.get("TaskGroups") or () for t in g.get("Tasks") or ()]
    task: Json = next((t for t in tasks if t.get("Name") in TASKS), {})
    asked = task.get("Resources") or {}
    return Found(
        ref=JobRef(live["Namespace"], live["ID"]),
        index=int(live["JobModifyIndex"]),
        name=str(live.get("Name") or ""),
        owner=str(meta.get("owner") or ""),
        title=str(meta.get("title") or ""),
        image=str((task.get("Config") or {}).get("image") or ""),
        resources={
            "cores": asked.get("Cores") or 0,
            "cpu_mhz": asked.get("CPU") or 0,
            "memory_mb": asked.get("MemoryMB") or 0,
            "devices": sum(device["Count"] for device in asked.get("Devices") or ()),
        },
    )


def _parts(live: Json) -> tuple[Json, Json]:
    """Return the group and the user's task. Raises: NotAdoptable."""
    if not UID.fullmatch(live["ID"]):
        raise NotAdoptable("its id can't be a deployment's: 1 to 63 of a-z, 0-9 and -")
    groups = live.get("TaskGroups") or []
    if len(groups) != 1 or groups[0].get("Name") != GROUP:
        raise NotAdoptable(f'a deployment is one group "{GROUP}"; this job has others')
    group = groups[0]
    if group.get("Count") != 1:
        raise NotAdoptable(f"it has {group.get('Count')} copies; a deployment is one")
    task = next((t for t in group.get("Tasks") or () if t.get("Name") in TASKS), None)
    if task is None:
        raise NotAdoptable(f"it has no task {' or '.join(TASKS)}")
    if task.get("Driver") != "docker":
        raise NotAdoptable(f"its task runs with {task.get('Driver')}; deployments are containers")
    return group, task


def _spec(live: Json, group: Json, task: Json, site: Site) -> tuple[DeploymentSpec, dict[str, str]]:
    """Return the spec that says what the job does, and its secrets. Raises: NotAdoptable."""
    env = task.get("Env") or {}
    secrets = {name: env[key] for name, key in SECRET_ENV.items() if env.get(key)}
    image, tag = split_reference(_text(task, "image"))
    storage = {name: env.get(key) or "" for key, name in STORAGE_ENV.items()}
    for value in (image, tag, *storage.values(), *secrets.values()):
        if "${" in value or "%{" in value:
            # Not the value itself: it may be the password.
            raise NotAdoptable("a value of it has ${ or %{, which Nomad would expand")
    shown = {name: SECRET_SET if name in secrets else "" for name in SECRET_ENV}
    meta = live.get("Meta") or {}
    general = General(
        virtual_organization=_vo(live["Namespace"], site),
        title=str(meta.get("title") or ""),
        desc=str(meta.get("description") or ""),
        docker_image=image,
        docker_tag=tag or "latest",
        service=_service(task),
        jupyter_password=shown[secret_name("general", "jupyter_password")],
    )
    rclone_password = shown[secret_name("storage", "rclone_password")]
    return (
        DeploymentSpec(
            general=general,
            hardware=_hardware(group, task, site),
            storage=Storage(**storage, rclone_password=rclone_password),
        ),
        secrets,
    )


def _text(task: Json, key: str) -> str:
    value = (task.get("Config") or {}).get(key)
    if not isinstance(value, str) or not value:
        raise NotAdoptable(f"its task has no {key}")
    return value


def _service(task: Json) -> str:
    args = (task.get("Config") or {}).get("args") or []
    alone = isinstance(args, list) and len(args) == 1 and isinstance(args[0], str)
    first = SERVICE.fullmatch(args[0]) if alone else None
    if _text(task, "command") != COMMAND or first is None:
        raise NotAdoptable(f"it is not started with `{COMMAND} --SERVICE`, as deployments are")
    return first[1]


def _vo(namespace: str, site: Site) -> str:
    vos = [vo for vo, its in site.namespaces.items() if its == namespace]
    if len(vos) != 1:
        several = f"several VOs: {', '.join(vos)}" if vos else "no VO"
        raise NotAdoptable(f"nomad.namespaces gives its namespace {namespace} to {several}")
    return vos[0]


def _hardware(group: Json, task: Json, site: Site) -> Hardware:
    asked = task.get("Resources") or {}
    mhz = site.mhz_per_cpu or MHZ_PER_CPU
    devices = asked.get("Devices") or ()
    if len(devices) > 1 or any(d["Name"] not in {*DEVICES, site.gpu_device} for d in devices):
        names = ", ".join(device["Name"] for device in devices)
        raise NotAdoptable(f"it asks for {names}; a deployment asks for {site.gpu_device}")
    models = [
        wish.get("RTarget") or ""
        for device in devices
        for wish in (*(device.get("Constraints") or ()), *(device.get("Affinities") or ()))
        if wish.get("LTarget") == "${device.model}"
    ]
    return Hardware(
        cpu_num=asked.get("Cores") or max(1, math.ceil((asked.get("CPU") or 0) / mhz)),
        gpu_num=sum(device["Count"] for device in devices),
        gpu_type=models[0] if models else "",
        ram=asked.get("MemoryMB") or 0,
        disk=(group.get("EphemeralDisk") or {}).get("SizeMB") or 0,
    )


def _owner(meta: Mapping[str, str], issuers: Sequence[str]) -> Owner:
    subject = meta.get("owner") or ""
    if not SUBJECT.fullmatch(subject):
        raise NotAdoptable("its owner is no subject: 1 to 255 printable characters without a space")
    if len(issuers) != 1:
        several = (
            f"any of {', '.join(issuers)}: say which" if issuers else "nobody's: auth.OP is []"
        )
        raise NotAdoptable(f"the provider of its owner may be {several}")
    return Owner(issuers[0], subject)


def _kept(live: Json, group: Json, task: Json) -> dict[str, Any]:
    """Return the fields of the job that say what runs: drift is a difference in these."""
    config, env, asked = task["Config"], task.get("Env") or {}, task.get("Resources") or {}
    users = {
        "Config": {key: config[key] for key in ("image", "command", "args")},
        "Env": {key: env[key] for key in STORAGE_ENV if key in env},
        "Resources": {
            **{key: asked.get(key) for key in ("CPU", "Cores", "MemoryMB")},
            "Devices": [
                {"Name": d["Name"], "Count": d["Count"]} for d in asked.get("Devices") or ()
            ],
        },
    }
    tasks = [
        {"Name": t["Name"], "Driver": t["Driver"], **(users if t is task else {})}
        for t in group["Tasks"]
    ]
    disk = {"SizeMB": (group.get("EphemeralDisk") or {}).get("SizeMB")}
    return {
        **{key: live[key] for key in ("ID", "Name", "Namespace", "Type")},
        "Meta": {key: live["Meta"][key] for key in KEPT_META if key in live["Meta"]},
        "TaskGroups": [
            {"Name": GROUP, "Count": group["Count"], "EphemeralDisk": disk, "Tasks": tasks}
        ],
    }


def _left_out(live: Json, group: Json, task: Json) -> Iterator[str]:
    """Yield what the job has that a spec can't say; names only, for values may be secrets."""
    others = [t["Name"] for t in group["Tasks"] if t is not task]
    env = sorted(set(task.get("Env") or {}) - KNOWN_ENV)
    config = sorted(set(task["Config"]) - KNOWN_CONFIG)
    services = [s.get("Name") or "" for s in group.get("Services") or ()]
    for what, names in (("tasks", others), ("env", env), ("config", config)):
        if names:
            yield f"{what}: {', '.join(names)}"
    if services:
        yield f"services: {', '.join(services)}"
    if live.get("Constraints") or live.get("Affinities"):
        yield "its constraints and affinities"
    if live.get("Priority") != USUAL_PRIORITY:
        yield f"priority {live.get('Priority')}"
