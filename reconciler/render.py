"""From a wish to Nomad's job (pure).

`etc/job.nomad` is parsed once by the cluster; `render` sets the user's values at known places of
that tree and never builds text. What a user typed reaches Nomad as JSON values only, and secrets
not at all: they travel through the Variable at `nomad/jobs/<job id>`, read by the template block
whose destination is `SECRETS_FILE`.

Meta carries what never changes for a deployment, because any change of it restarts the user's
container. The ecosystem reads title and description from Meta too, so they are written there when
the job is created and repeated unchanged afterwards; the current ones are in `ui.description`,
which updates in place.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic_core import from_json, to_json

from reconciler.diff import FOUND
from reconciler.errors import ClusterForbidden
from reconciler.jobs import MANAGED_BY, Job, JobRef, Json
from specs.model import (
    ADOPTED,
    SECRET_FIELDS,
    Applied,
    Deployment,
    DeploymentSpec,
    secret_name,
)

GROUP: Final = "usergroup"
TASK: Final = "usertask"
SECRETS_FILE: Final = "secrets/ai4papi.env"
UI_DESCRIPTION_MAX: Final = 1000
"""Bytes in UTF-8, whatever Nomad's message calls them: it refuses a longer `ui.description`
(nomad/structs/job.go, MaxDescriptionCharacters)."""

SECRET_ENV: Final = {
    secret_name("general", "jupyter_password"): "jupyterPASSWORD",
    secret_name("storage", "rclone_password"): "RCLONE_CONFIG_RSHARE_PASS",
}
"""The environment variable that each secret becomes inside the container."""


class TemplateFault(Exception):
    """`etc/job.nomad` lacks something that every deployment needs. The operator must correct it."""


@dataclass(frozen=True, slots=True)
class Site:
    """The operator's choices that rendering depends on.

    `store_id` marks the jobs of one store, so that another store on the same Nomad never takes them
    for its own orphans. `namespaces` maps a VO to Nomad's namespace. `mhz_per_cpu` None asks for
    whole cores. `gpu_model` says what a wished model is: a preference or a demand. `priorities` are
    Nomad's for each priority class; elsewhere the template's own stands.
    """

    namespaces: Mapping[str, str]
    gpu_device: str = "nvidia/gpu"
    gpu_model: str = "affinity"
    mhz_per_cpu: int | None = 1000
    store_id: str = ""
    priorities: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The job that should be there: where, its JSON as we send it, and a digest of that.

    `own` is set where a job that was taken over shall stay: then `job` is what is known of that
    one, which is never sent, and `own` is what is written once something must be.
    """

    ref: JobRef
    job: Json
    digest: str
    with_secrets: bool
    own: "Wanted | None" = None


def job_ref(deployment: Deployment, site: Site) -> JobRef:
    """Return where the job of `deployment` lives: the VO's namespace, the deployment's uid.

    Raises: ClusterForbidden where the operator's settings no longer know the VO.
    """
    namespace = site.namespaces.get(deployment.vo)
    if namespace is None:
        raise ClusterForbidden(
            f"nomad.namespaces in main_conf.yaml has no entry for {deployment.vo}"
        )
    return JobRef(namespace, deployment.uid)


def render(deployment: Deployment, template: Json, site: Site) -> Wanted:
    """Return the job for the current generation of `deployment`.

    A generation is rendered once: while it stays, what was sent for it stays wanted, whatever
    became of the template since. So an upgrade restarts nothing. Nor does a wish for what a job
    that was taken over does already.

    Raises: TemplateFault.
    """
    ref = job_ref(deployment, site)
    with_secrets = any(
        getattr(getattr(deployment.target, group), key) for group, key in SECRET_FIELDS
    )
    applied = deployment.applied
    rendered = applied is not None and applied.generation == deployment.generation
    if applied is not None and rendered and not applied.adopted:
        return Wanted(ref, applied.job, applied.digest, with_secrets)
    # Through JSON text, which is faster than deepcopy: a template is JSON.
    fresh = from_json(to_json(template))
    job = _fill(fresh, deployment, site, with_secrets=with_secrets)
    ours = Wanted(ref, job, digest_of(job), with_secrets)
    if applied is not None and applied.adopted and _runs_as_found(deployment, applied):
        return Wanted(ref, applied.job, applied.digest, with_secrets=False, own=ours)
    return ours


def is_ours(deployment: Deployment, wanted: Wanted, job: Job) -> bool:
    """Whether the job at the record's uid is the record's.

    Ownership is the store's word: the job's id is the record's uid. Meta is the cross-check: our
    marker, or every word that was in it when the job was taken over.
    """
    applied = deployment.applied
    if applied is None or not applied.adopted:
        return job.managed and job.meta.get("ai4papi_uid") == deployment.uid
    if not job.managed:
        return applied.digest == found_digest(job.meta)
    # The uid was not made here, so another store may have taken the same job over.
    ours = (wanted.own or wanted).job["Meta"]
    return all(job.meta.get(key) == ours.get(key) for key in ("ai4papi_uid", "ai4papi_store"))


def found_digest(meta: Mapping[str, str]) -> str:
    """Return the digest on record of a job that was taken over with this Meta."""
    return ADOPTED + digest_of(dict(meta))


def running_part(spec: DeploymentSpec) -> Json:
    """Return what of `spec` says what a container does, not how it is called or how long it
    lives."""
    groups = spec.model_dump(mode="json", include={"general", "hardware", "storage"})
    groups["general"] = {k: v for k, v in groups["general"].items() if k not in ("title", "desc")}
    return groups


def digest_of(job: Json) -> str:
    """Return a digest that is equal for equal JSON, whatever the order of its keys."""
    text = json.dumps(job, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def variable_items(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the Variable's items for a deployment's `secrets`: environment name -> value."""
    return {SECRET_ENV[name]: value for name, value in secrets.items()}


def check_template(template: Json) -> None:
    """Refuse a template that lacks the group, the task or the blocks that `render` fills.

    Raises: TemplateFault, naming what is missing.
    """
    task = _task(_group(template))
    for block in ("Config", "Env", "Resources"):
        if not isinstance(task.get(block), dict):
            raise TemplateFault(f'job.nomad: task "{TASK}" has no {block.lower()} block; add one')
    if not any(t.get("DestPath") == SECRETS_FILE for t in task.get("Templates") or ()):
        raise TemplateFault(
            f'job.nomad: task "{TASK}" has no template with destination "{SECRETS_FILE}";'
            " without it no password reaches a container"
        )


def _fill(
    job: dict[str, Any], deployment: Deployment, site: Site, *, with_secrets: bool
) -> dict[str, Any]:
    check_template(job)
    spec = deployment.target
    ref = job_ref(deployment, site)
    chosen = _choices(deployment)
    group = _group(job)
    group["Tasks"] = [t for t in group["Tasks"] if _chosen(t, chosen)]
    for block in (group, *group["Tasks"]):
        block["Services"] = [s for s in block.get("Services") or () if _chosen(s, chosen)]
    job |= {"ID": ref.id, "Name": deployment.name, "Namespace": ref.namespace}
    if priority := site.priorities.get(spec.priority_class or ""):
        job["Priority"] = priority
    job["Meta"] = {**(job.get("Meta") or {}), **_meta(deployment, site)}
    job["UI"] = {**(job.get("UI") or {}), "Description": _ui_description(deployment)}
    group["EphemeralDisk"] = {**(group.get("EphemeralDisk") or {}), "SizeMB": spec.hardware.disk}

    task = _task(group)
    task["Config"] |= {
        "image": _image(spec.general.docker_image, spec.general.docker_tag),
        "command": "deep-start",
        "args": [f"--{spec.general.service}"],
    }
    task["Env"] |= {
        "RCLONE_CONFIG": spec.storage.rclone_conf,
        "RCLONE_CONFIG_RSHARE_TYPE": "webdav",
        "RCLONE_CONFIG_RSHARE_URL": spec.storage.rclone_url,
        "RCLONE_CONFIG_RSHARE_VENDOR": spec.storage.rclone_vendor,
        "RCLONE_CONFIG_RSHARE_USER": spec.storage.rclone_user,
    }
    task["Resources"] |= _resources(deployment, site)
    if not with_secrets:
        task["Templates"] = [t for t in task["Templates"] if t.get("DestPath") != SECRETS_FILE]
    return job


def _runs_as_found(deployment: Deployment, applied: Applied) -> bool:
    spec, now = deployment.target, running_part(deployment.target)
    return (
        all(found.items() <= now[group].items() for group, found in applied.job[FOUND].items())
        and applied.secrets_generation == deployment.secrets_generation
        and spec.priority_class is None
    )


def _meta(deployment: Deployment, site: Site) -> dict[str, str]:
    general, applied = deployment.target.general, deployment.applied
    born = applied.job["Meta"] if applied else {}
    if applied is None or applied.adopted:
        born = {**born, "ai4papi_store": site.store_id}
    meta = {
        "owner": deployment.owner.sub,
        # Another name in the token of the next write must not restart the work.
        "owner_name": born.get("owner_name", deployment.owner_name),
        "title": born.get("title", general.title),
        "description": born.get("description", general.desc),
        "ai4papi_uid": deployment.uid,
        "managed_by": MANAGED_BY,
    }
    if born.get("ai4papi_store"):
        meta["ai4papi_store"] = born["ai4papi_store"]
    return {key: _inert(value) for key, value in meta.items()}


def _inert(value: str) -> str:
    # Nomad expands ${...} in Meta and knows no escape there. The wish was checked for it; a name
    # or subject from a token was not, and must arrive as text.
    return value.replace("${", "$\u200b{").replace("%{", "%\u200b{")


def _ui_description(deployment: Deployment) -> str:
    general = deployment.target.general
    text = "\n\n".join(part for part in (general.title, general.desc) if part)
    return text.encode()[:UI_DESCRIPTION_MAX].decode(errors="ignore")


def _image(image: str, tag: str) -> str:
    return f"{image}@{tag}" if tag.startswith("sha256:") else f"{image}:{tag}"


def _resources(deployment: Deployment, site: Site) -> dict[str, Any]:
    hardware = deployment.target.hardware
    cpu: dict[str, Any] = {"Cores": hardware.cpu_num, "CPU": None}
    if site.mhz_per_cpu is not None:
        cpu = {"CPU": hardware.cpu_num * site.mhz_per_cpu, "Cores": None}
    return {**cpu, "MemoryMB": hardware.ram, "Devices": _devices(deployment, site)}


def _devices(deployment: Deployment, site: Site) -> list[dict[str, Any]]:
    hardware = deployment.target.hardware
    if hardware.gpu_num == 0:
        return []
    device: dict[str, Any] = {"Name": site.gpu_device, "Count": hardware.gpu_num}
    if hardware.gpu_type:
        wish = {"LTarget": "${device.model}", "RTarget": hardware.gpu_type, "Operand": "="}
        if site.gpu_model == "constraint":
            device["Constraints"] = [wish]
        else:
            device["Affinities"] = [{**wish, "Weight": 50}]
    return [device]


def _choices(deployment: Deployment) -> frozenset[str]:
    spec = deployment.target
    choices = {f"service={spec.general.service}"}
    if spec.storage.rclone_url and spec.storage.rclone_user:
        choices.add("storage")
    if spec.hardware.gpu_num:
        choices.add("gpu")
    return frozenset(choices)


def _chosen(block: dict[str, Any], choices: frozenset[str]) -> bool:
    when = (block.get("Meta") or {}).get("when")
    return when is None or when in choices


def _group(job: Json) -> dict[str, Any]:
    return _named(job.get("TaskGroups"), GROUP, "group")


def _task(group: Json) -> dict[str, Any]:
    return _named(group.get("Tasks"), TASK, "task")


def _named(blocks: Any, name: str, kind: str) -> dict[str, Any]:
    for block in blocks or ():
        if isinstance(block, dict) and block.get("Name") == name:
            return block
    raise TemplateFault(f'job.nomad: no {kind} "{name}"; every deployment is rendered into it')
