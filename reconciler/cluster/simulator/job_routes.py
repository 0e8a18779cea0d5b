"""The routes below `/v1/jobs` and `/v1/job/:id`."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from reconciler.cluster.simulator import answers
from reconciler.cluster.simulator.asked import Answer, Asked
from reconciler.cluster.simulator.canonical import canonical_job
from reconciler.cluster.simulator.difference import job_diff
from reconciler.cluster.simulator.pages import BY_NAME, cut
from reconciler.cluster.simulator.refusal import Refusal, not_found
from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.cluster.simulator.world import Json, World


def list_jobs(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    """`GET /v1/jobs`."""
    with nomad.reading() as world:
        page = cut(_in_namespace(world, asked), asked.query, BY_NAME)
        meta = asked.flag("meta")
        stubs = [answers.job_stub(world, job, meta=meta) for job in page.items]
        return Answer(stubs, world.latest_index("jobs", "allocs"), page.next_token)


def register(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    """`POST /v1/jobs`."""
    body = asked.json()
    if_index = body.get("jobmodifyindex") or 0 if body.get("enforceindex") else None
    written = nomad.register(
        _job(body), namespace=asked.namespace, if_index=if_index, source=body.get("submission")
    )
    return _written(written)


def parse(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    """`POST /v1/jobs/parse`."""
    body = asked.json()
    job = nomad.parse(str(body.get("jobhcl") or ""))
    return Answer(canonical_job(job) if body.get("canonicalize") else job)


def validate(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    """`POST /v1/validate/job`."""
    return Answer(nomad.validate(_job(asked.json()), namespace=asked.namespace))


def statuses(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    """`GET` and `POST /v1/jobs/statuses`: all jobs, or those that the body names."""
    named = asked.json().get("jobs") if asked.body else None
    wanted = {(item.get("Namespace", "default"), item.get("ID")) for item in named or ()}
    with nomad.reading() as world:
        jobs = [
            job
            for job in _in_namespace(world, asked)
            if not wanted or (job["Namespace"], job["ID"]) in wanted
        ]
        page = cut(jobs, asked.query, BY_NAME)
        told = [answers.job_status(world, job) for job in page.items]
        return Answer(told, world.latest_index("jobs", "allocs"), page.next_token)


def read(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id`."""
    with nomad.reading() as world:
        job = _stored(world, asked, job_id)
        return Answer(job, job["ModifyIndex"])


def deregister(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`DELETE /v1/job/:id`."""
    return _written(nomad.deregister((asked.namespace, job_id), purge=asked.flag("purge")))


def plan(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`POST /v1/job/:id/plan`."""
    body = asked.json()
    told = nomad.plan(job_id, _job(body), namespace=asked.namespace, diff=bool(body.get("diff")))
    return Answer(told, told["Index"])


def versions(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id/versions`, newest first."""
    with nomad.reading() as world:
        kept = list(world.versions.get((asked.namespace, job_id), ()))
        index = world.latest_index("jobs")
    if not kept:
        raise not_found("job versions")
    diffs = None
    if asked.flag("diffs"):
        diffs = [job_diff(old, new, {}) for new, old in pairwise(kept)] or None
    return Answer({"Versions": kept, "Diffs": diffs, "Index": index}, index)


def submission(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id/submission`: the text that was sent, where somebody sent one."""
    version = asked.number("version", wrong="invalid version") or 0
    with nomad.reading() as world:
        source = world.sources.get(((asked.namespace, job_id), version))
    if source is None:
        raise not_found("job source")
    return Answer(source, 1)


def allocations(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id/allocations`."""
    with nomad.reading() as world:
        found = answers.of_job(world, "allocs", (asked.namespace, job_id))
        return Answer([answers.alloc_stub(item) for item in found], world.latest_index("allocs"))


def evaluations(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id/evaluations`."""
    return _of_job(nomad, asked, job_id, table="evals", index_of="evals")


def rollouts(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id/deployments`."""
    return _of_job(nomad, asked, job_id, table="rollouts", index_of="deployment")


def latest_rollout(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id/deployment`: null where there is none."""
    found = rollouts(nomad, asked, job_id)
    return Answer(found.body[0] if found.body else None, found.index)


def summary(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id/summary`."""
    with nomad.reading() as world:
        job = _stored(world, asked, job_id)
        told = answers.summary(world, (asked.namespace, job_id), job)
    return Answer(told, told["ModifyIndex"])


def scale_status(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`GET /v1/job/:id/scale`."""
    with nomad.reading() as world:
        job = _stored(world, asked, job_id)
        return Answer(answers.scale_status(world, job), job["ModifyIndex"])


def scale(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`POST /v1/job/:id/scale`."""
    body = asked.json()
    target = body.get("target") or {}
    group = target.get("Group")
    if not group:
        raise Refusal(400, "missing task group name for scaling action")
    return _written(nomad.scale((asked.namespace, job_id), str(group), body.get("count")))


def revert(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`POST /v1/job/:id/revert`."""
    body = asked.json()
    return _written(
        nomad.revert(
            (asked.namespace, job_id),
            int(body.get("jobversion") or 0),
            if_version=body.get("enforcepriorversion"),
        )
    )


def evaluate(nomad: SimulatedNomad, asked: Asked, job_id: str) -> Answer:
    """`POST /v1/job/:id/evaluate`."""
    return _written(nomad.evaluate((asked.namespace, job_id)))


def _in_namespace(world: World, asked: Asked) -> list[Json]:
    if asked.namespace == "*":
        return list(world.jobs.values())
    return [job for key, job in world.jobs.items() if key[0] == asked.namespace]


def _stored(world: World, asked: Asked, job_id: str) -> Json:
    job = world.jobs.get((asked.namespace, job_id))
    if job is None:
        raise not_found("job")
    return job


def _of_job(
    nomad: SimulatedNomad, asked: Asked, job_id: str, *, table: str, index_of: str
) -> Answer:
    with nomad.reading() as world:
        found = answers.of_job(world, table, (asked.namespace, job_id))
        return Answer(found, world.latest_index(index_of))


def _job(body: Mapping[str, Any]) -> Mapping[str, Any]:
    job = body.get("job")
    if not isinstance(job, Mapping):
        raise Refusal(400, "Job must be specified")
    return job


def _written(written: Json) -> Answer:
    known = {"KnownLeader": False, "LastContact": 0, "NextToken": ""}
    return Answer({**known, **written}, written["Index"])
