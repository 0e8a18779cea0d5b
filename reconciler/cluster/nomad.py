"""A real Nomad behind the cluster protocol: what becomes of jobs, and what is known of them.

This module, `access`, `namespaces` and `variables` are the only ones that import `nomad`
(python-nomad).
"""

import logging
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Final, TypeVar

import requests
from nomad import api
from nomad.api.base import Requester
from nomad.api.exceptions import BaseNomadException

from reconciler.cluster import decode, log_frames
from reconciler.cluster.access import Access, joined, segment
from reconciler.cluster.namespaces import Namespaces
from reconciler.cluster.protocol import Cluster, Listing, LogKind
from reconciler.cluster.refusals import (
    NO_JOB,
    error_of,
    no_log,
    nothing_to_evaluate,
    nothing_to_restart,
    words_of,
)
from reconciler.cluster.session import Heard, unheard
from reconciler.cluster.stream import SILENCE_S, follow_all
from reconciler.cluster.variables import Variables
from reconciler.errors import ClusterError, ClusterUnavailable, JobRejected, LogMissing
from reconciler.jobs import (
    MANAGED_BY,
    Allocation,
    Changes,
    Evaluation,
    Job,
    JobRef,
    Json,
    Node,
    Registered,
    Rollout,
    Verdict,
)
from reconciler.nomad_section import NomadSettings

log = logging.getLogger(__name__)

Kept = TypeVar("Kept", Job, Allocation, Evaluation, Rollout)

MANAGED: Final = f'Meta.managed_by == "{MANAGED_BY}"'
"""Constant: nobody's text ever gets into a filter."""

BLOCKED: Final = 'Status == "blocked"'
"""What can't be placed has a blocked evaluation for as long as it waits. The completed ones that
name their failures are left out: they go on naming them long after everything was placed."""

TOPICS: Final = ("Job", "Allocation", "Evaluation", "Deployment", "Node")


class NomadCluster(Cluster):
    """A Nomad at one address, and in it the namespaces of ours; `heard` is told of each call.

    The job that this process itself runs in is not seen in lists, and whatever would change it or
    its Variable raises `JobRejected`.
    """

    def __init__(
        self, settings: NomadSettings, namespaces: Sequence[str], *, heard: Heard = unheard
    ) -> None:
        self._names = tuple(namespaces)
        self._own = settings.own_job
        self._access = Access(settings, heard)
        self._namespaces = Namespaces(self._access, self._names)
        self._variables = Variables(self._access, self._namespaces)
        self._version: str | None = None
        self._token_to_weigh = bool(settings.token)

    @property
    def title(self) -> str:
        """What people are told they talk to; the version is known after the first list."""
        shown = self._access.shown
        return f"Nomad {self._version} at {shown}" if self._version else f"Nomad at {shown}"

    def parse_job(self, hcl: str) -> Json:
        """Turn HCL into Nomad's job JSON. Raises `JobRejected` with the parser's words."""
        with self._access.asking():
            parsed: Json = self._access.at(api.Jobs, self._names[0]).parse(hcl)
            if "ID" not in parsed:
                raise ValueError("a parsed job has an ID")
            return parsed

    def ensure_namespaces(self) -> None:
        """Create those of our namespaces that are missing."""
        self._weigh_token()
        with self._access.asking():
            self._namespaces.ensure()
            # A stream that our token may not read is opened all the same and stays silent for ever
            # (Nomad 2.0.6): so whether it may read what a stream tells is asked first.
            for name in self._names:
                self._access.require_list(api.Evaluations, namespace=name)
            self._access.require_list(api.Nodes, namespace=self._names[0])

    def list_jobs(self) -> Listing[Job]:
        """List all managed jobs of our namespaces."""
        found = self._list(api.Jobs, decode.job_stub, {"meta": "true", "filter": MANAGED})
        self._learn_version()
        return Listing(found.index, [job for job in found.items if job.ref != self._own])

    def list_foreign_jobs(self) -> Listing[Job]:
        """List the jobs of our namespaces that do not carry our marker."""
        found = self._list(api.Jobs, decode.job_stub, {"meta": "true"})
        return Listing(
            found.index, [j for j in found.items if not j.managed and j.ref != self._own]
        )

    def list_allocations(self) -> Listing[Allocation]:
        """List the allocations of our namespaces, foreign jobs' included."""
        return self._list(api.Allocations, decode.allocation, {"resources": "true"})

    def list_evaluations(self) -> Listing[Evaluation]:
        """List the evaluations of our namespaces that are blocked."""
        return self._list(api.Evaluations, decode.evaluation, {"filter": BLOCKED})

    def list_rollouts(self) -> Listing[Rollout]:
        """List the rollouts (Nomad's deployments) of our namespaces, ended ones included."""
        return self._list(api.Deployments, decode.rollout, {})

    def list_nodes(self) -> Listing[Node]:
        """List the cluster's nodes with their capacity and devices."""
        with self._access.asking():
            return joined(
                self._access.pages(
                    api.Nodes, decode.node, {"resources": "true"}, namespace=self._names[0]
                )
            )

    def read_job(self, ref: JobRef) -> Json | None:
        """Read one job in full, or None where it does not exist (stopped ones do)."""
        with self._access.asking():
            job = self._access.at(api.Job, ref.namespace)
            read = self._namespaces.unless_absent(
                NO_JOB, ref.namespace, lambda: job.get_job(segment(ref.id))
            )
            if read is not None and decode.job(read).ref != ref:
                raise ValueError(f"asked for {ref}, got another job")
            return read

    def plan_job(self, job: Json) -> Verdict:
        """Ask the scheduler what a register would do."""
        jobs = self._access.at(api.Job, job["Namespace"])
        with self._access.asking():
            return decode.verdict(
                self._submit(
                    job, lambda: jobs.plan_job(segment(job["ID"]), {"Job": job}, diff=True)
                )
            )

    def register_job(self, job: Json, *, if_index: int) -> Registered:
        """Write the job, if it is still at `if_index` (0: if it does not exist)."""
        self._spare(JobRef(job["Namespace"], job["ID"]))
        wanted = {"Job": job, "EnforceIndex": True, "JobModifyIndex": if_index}
        with self._access.asking():
            answer = self._submit(job, lambda: self._access.post("jobs", job["Namespace"], wanted))
            # A register that changes nothing answers the job's ModifyIndex, and in `Index` the one
            # of the evaluation it made; the job itself is still at the index that we enforced.
            changed = answer["JobModifyIndex"] == answer["Index"]
            return Registered(
                index=answer["JobModifyIndex"] if changed else if_index,
                eval_id=answer["EvalID"],
            )

    def stop_job(self, ref: JobRef) -> Registered:
        """Stop the job; its record and allocations stay."""
        return self._deregister(ref, purge=False)

    def purge_job(self, ref: JobRef) -> Registered:
        """Stop the job and forget it."""
        return self._deregister(ref, purge=True)

    def restart_allocation(self, ref: JobRef, allocation_id: str) -> None:
        """Restart every task of a running allocation in place."""
        self._spare(ref)
        allocations = self._access.at(api.client.allocation, ref.namespace)
        with self._access.asking():
            try:
                # python-nomad's own call sends no body: dead tasks would stay dead.
                answered = allocations.request(
                    segment(allocation_id), "restart", method="post", json={"AllTasks": True}
                ).json()
                if "Index" not in answered:
                    raise ValueError("a restart answers an index")
            except BaseNomadException as error:
                answer = error.nomad_resp
                if not (isinstance(answer, requests.Response) and nothing_to_restart(answer.text)):
                    raise

    def evaluate_job(self, ref: JobRef) -> None:
        """Let the scheduler look at the job again."""
        self._spare(ref)
        jobs = self._access.at(api.Job, ref.namespace)
        body = {"JobID": ref.id, "EvalOptions": {"ForceReschedule": False}}
        with self._access.asking():
            try:
                # python-nomad's own call sends no body, which Nomad takes for old times' sake only.
                answered = jobs.request(
                    segment(ref.id), "evaluate", method="post", json=body
                ).json()
                if "EvalID" not in answered:
                    raise ValueError("an evaluation that was asked for has an id")
            except BaseNomadException as error:
                answer = error.nomad_resp
                if not (isinstance(answer, requests.Response) and nothing_to_evaluate(answer.text)):
                    raise
                self._namespaces.require(ref.namespace)

    def read_variable(self, ref: JobRef) -> tuple[Mapping[str, str], int] | None:
        """Read the items and the index of the Variable at `nomad/jobs/<job id>`, or None."""
        with self._access.asking():
            return self._variables.read(ref)

    def put_variable(self, ref: JobRef, items: Mapping[str, str], *, if_index: int) -> int:
        """Write the Variable if it is at `if_index` (0: absent); return its new index."""
        self._spare(ref)
        with self._access.asking():
            return self._variables.put(ref, items, if_index=if_index)

    def delete_variable(self, ref: JobRef) -> None:
        """Remove the Variable. Removing a missing one is fine."""
        self._spare(ref)
        with self._access.asking():
            self._variables.delete(ref)

    def read_log(
        self,
        ref: JobRef,
        allocation_id: str,
        *,
        task: str,
        kind: LogKind,
        tail_bytes: int,
        follow: bool,
        stop: threading.Event,
    ) -> Generator[bytes, None, None]:
        """Read the end of what a task has written, and with `follow` what comes."""
        with self._access.asking():
            try:
                response = self._access.alone(
                    api.client.stream_logs, silence_s=log_frames.SILENCE_S
                ).request(
                    segment(allocation_id),
                    method="get",
                    params={
                        "namespace": ref.namespace,
                        "task": task,
                        "type": kind,
                        "origin": "end",
                        "offset": tail_bytes,
                        "follow": "true" if follow else "false",
                    },
                    headers={"Accept-Encoding": "identity"},
                    stream=True,
                )
            except BaseNomadException as error:
                answer = error.nomad_resp
                if isinstance(answer, requests.Response) and no_log(
                    answer.status_code, answer.text
                ):
                    raise LogMissing(words_of(answer.text)) from error
                raise
        yield from log_frames.read_frames(response, stop)

    def changes(self, *, after: int, stop: threading.Event) -> Generator[Changes, None, None]:
        """Follow the event streams of our namespaces from `after` on, each on its own connection.

        One stream of all namespaces is for those only who may read every job of the cluster.
        """
        with ExitStack() as opened:
            with self._access.asking():
                streams = [
                    opened.enter_context(closing(self._open_stream(name, after)))
                    for name in self._names
                ]
            messages = opened.enter_context(closing(follow_all(streams, stop)))
            for message in messages:
                yield self._ours(message)

    def _open_stream(self, namespace: str, after: int) -> requests.Response:
        response: requests.Response = self._access.alone(
            api.Event, silence_s=SILENCE_S
        ).stream.request(
            method="get",
            params={
                "topic": TOPICS,
                "index": after + 1 if after else 0,
                "namespace": namespace,
            },
            headers={"Accept-Encoding": "identity"},
            stream=True,
        )
        return response

    def _ours(self, message: Changes) -> Changes:
        return replace(
            message,
            changes=tuple(
                change
                for change in message.changes
                if isinstance(change, Node) or change.ref.namespace in self._names
            ),
        )

    def _list(
        self, endpoint: type[Requester], read: Callable[[Json], Kept], params: dict[str, str]
    ) -> Listing[Kept]:
        with self._access.asking():
            # One list by namespace: from a list over all of them Nomad leaves out, without a word,
            # what our token may not see. A namespace that is not there looks empty, so whether
            # they exist is a question of its own.
            found = joined(
                page
                for name in self._names
                for page in self._access.pages(endpoint, read, params, namespace=name)
            )
            self._namespaces.require_all()
            ours = [item for item in found.items if item.ref.namespace in self._names]
            return Listing(found.index, ours)

    def _spare(self, ref: JobRef) -> None:
        if ref == self._own:
            raise JobRejected(
                f"{ref.id} in {ref.namespace} is the job that this platform runs in: it never"
                " manages itself; change it with the `nomad` program"
            )

    def _deregister(self, ref: JobRef, *, purge: bool) -> Registered:
        self._spare(ref)
        with self._access.asking():
            answer = self._access.at(api.Job, ref.namespace).deregister_job(
                segment(ref.id), purge="true" if purge else None
            )
            if answer["JobModifyIndex"] == 0:
                # Nothing was there; a namespace that does not exist answers the same.
                self._namespaces.require(ref.namespace)
            return Registered(index=answer["JobModifyIndex"], eval_id=answer["EvalID"])

    def _submit(self, job: Json, send: Callable[[], Json]) -> Json:
        """Send a job; where Nomad fails without saying why, ask whether the job is at fault."""
        try:
            return send()
        except BaseNomadException as error:
            if not _unexplained(error):
                raise
            judged = (
                self._access.at(api.Validate, job["Namespace"]).validate_job({"Job": job}).json()
            )
            if not judged["Error"]:
                raise
            raise JobRejected(words_of(judged["Error"])) from error

    def _weigh_token(self) -> None:
        """Say once of our token what its operator should know: too strong, or not for ever."""
        if not self._token_to_weigh:
            return
        try:
            with self._access.asking():
                token = self._access.at(api.Acl, self._names[0]).get_self_token()
                kind, expires_at = token["Type"], token["ExpirationTime"]
        except ClusterUnavailable:
            return
        except ClusterError:
            # No ACLs, or a token that Nomad does not know: what comes next says so.
            kind, expires_at = None, None
        self._token_to_weigh = False
        if kind == "management":
            log.warning("NOMAD_TOKEN may do everything: one with etc/nomad-policy.hcl is enough")
        if expires_at:
            log.warning("NOMAD_TOKEN expires", extra={"expires_at": expires_at})

    def _learn_version(self) -> None:
        if self._version is None:
            try:
                with self._access.asking():
                    about = self._access.at(api.Agent, self._names[0]).get_agent()
                    self._version = str(about["config"]["Version"]["Version"])
            except ClusterError:
                # Our token need not be allowed to know.
                self._version = ""


def _unexplained(error: BaseNomadException) -> bool:
    answer = error.nomad_resp
    return (
        isinstance(answer, requests.Response)
        and answer.status_code == 500
        and isinstance(error_of(500, answer.text), ClusterUnavailable)
    )
