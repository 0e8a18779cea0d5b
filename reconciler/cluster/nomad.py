"""A real Nomad behind the cluster protocol. The only module that imports `nomad` (python-nomad).

python-nomad carries the calls. What it lacks is done here over the same sessions: a namespace that
is always given (its own `Nomad` class lets the environment redirect every call, so only endpoint
classes are used), verified TLS, quoted ids, index headers, pages, and errors that say what to do.
What does not read as Nomad's never counts as an answer.
"""

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import requests
import urllib3
from nomad import api
from nomad.api.base import Requester
from nomad.api.exceptions import (
    BaseNomadException,
    URLNotFoundNomadException,
    VariableConflict,
)

from reconciler.cluster import decode
from reconciler.cluster.protocol import Cluster, Listing
from reconciler.cluster.refusals import (
    NO_JOB,
    error_of,
    nothing_to_evaluate,
    nothing_to_restart,
    words_of,
)
from reconciler.cluster.session import CONNECT_S, Sessions, client_certificate, trusted
from reconciler.cluster.stream import SILENCE_S, follow
from reconciler.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterUnavailable,
    JobConflict,
    JobRejected,
)
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
from reconciler.settings import NomadSettings

log = logging.getLogger(__name__)
T = TypeVar("T")
Kept = TypeVar("Kept", Job, Allocation, Evaluation, Rollout)

PER_PAGE: Final = 1000
"""Items per page of a list; 1,000 jobs are some 0.6 MB."""

MANAGED: Final = f'Meta.managed_by == "{MANAGED_BY}"'
"""Constant: nobody's text ever gets into a filter."""

BLOCKED: Final = 'Status == "blocked"'
"""What can't be placed has a blocked evaluation for as long as it waits. The completed ones that
name their failures are left out: they go on naming them long after everything was placed."""

TOPICS: Final = ("Job", "Allocation", "Evaluation", "Deployment", "Node")


class NomadCluster(Cluster):
    """A Nomad at one address, and in it the namespaces of ours."""

    def __init__(self, settings: NomadSettings, namespaces: Sequence[str]) -> None:
        self._namespaces = tuple(namespaces)
        self._sessions = Sessions(settings)
        self._address = settings.address.rstrip("/")
        self._access: dict[str, Any] = {
            "address": self._address,
            "token": settings.token,
            "region": settings.region,
            "timeout": (CONNECT_S, settings.timeout_s),
            "verify": trusted(settings),
            "cert": client_certificate(settings),
        }
        self._version: str | None = None
        if settings.skip_verify:
            log.warning("nomad's certificate is not verified: NOMAD_SKIP_VERIFY is set")
            # Said once, here; urllib3 would go on about it at every call.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    @property
    def title(self) -> str:
        """What people are told they talk to; the version is known after the first list."""
        where = urlsplit(self._address)
        shown = f"{where.scheme}://{where.netloc.rpartition('@')[2]}"
        return f"Nomad {self._version} at {shown}" if self._version else f"Nomad at {shown}"

    def parse_job(self, hcl: str) -> Json:
        """Turn HCL into Nomad's job JSON. Raises `JobRejected` with the parser's words."""
        with self._asking():
            parsed: Json = self._at(api.Jobs, self._namespaces[0]).parse(hcl)
            if "ID" not in parsed:
                raise ValueError("a parsed job has an ID")
            return parsed

    def ensure_namespaces(self) -> None:
        """Create those of our namespaces that are missing."""
        with self._asking():
            for name in self._namespaces:
                namespaces = self._at(api.Namespace, name)
                try:
                    namespaces.get_namespace(_segment(name))
                except URLNotFoundNomadException:
                    log.info("creating namespace", extra={"namespace": name})
                    namespaces.create_namespace({"Name": name, "Description": "made by ai4papi"})

    def list_jobs(self) -> Listing[Job]:
        """List all managed jobs of our namespaces."""
        found = self._list(api.Jobs, decode.job_stub, {"meta": "true", "filter": MANAGED})
        self._learn_version()
        return found

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
        with self._asking():
            return _joined(self._pages(api.Nodes, decode.node, {"resources": "true"}))

    def read_job(self, ref: JobRef) -> Json | None:
        """Read one job in full, or None where it does not exist (stopped ones do)."""
        with self._asking():
            job = self._at(api.Job, ref.namespace)
            read = self._unless_absent(NO_JOB, ref.namespace, lambda: job.get_job(_segment(ref.id)))
            if read is not None and decode.job(read).ref != ref:
                raise ValueError(f"asked for {ref}, got another job")
            return read

    def plan_job(self, job: Json) -> Verdict:
        """Ask the scheduler what a register would do."""
        jobs = self._at(api.Job, job["Namespace"])
        with self._asking():
            return decode.verdict(
                self._submit(
                    job, lambda: jobs.plan_job(_segment(job["ID"]), {"Job": job}, diff=True)
                )
            )

    def register_job(self, job: Json, *, if_index: int) -> Registered:
        """Write the job, if it is still at `if_index` (0: if it does not exist)."""
        jobs = self._at(api.Jobs, job["Namespace"])
        wanted = {"Job": job, "EnforceIndex": True, "JobModifyIndex": if_index}
        with self._asking():
            answer = self._submit(job, lambda: jobs.register_job(wanted))
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
        allocations = self._at(api.client.allocation, ref.namespace)
        with self._asking():
            try:
                # python-nomad's own call sends no body: dead tasks would stay dead.
                answered = allocations.request(
                    _segment(allocation_id), "restart", method="post", json={"AllTasks": True}
                ).json()
                if "Index" not in answered:
                    raise ValueError("a restart answers an index")
            except BaseNomadException as error:
                answer = error.nomad_resp
                if not (isinstance(answer, requests.Response) and nothing_to_restart(answer.text)):
                    raise

    def evaluate_job(self, ref: JobRef) -> None:
        """Let the scheduler look at the job again."""
        jobs = self._at(api.Job, ref.namespace)
        body = {"JobID": ref.id, "EvalOptions": {"ForceReschedule": False}}
        with self._asking():
            try:
                # python-nomad's own call sends no body, which Nomad takes for old times' sake only.
                answered = jobs.request(
                    _segment(ref.id), "evaluate", method="post", json=body
                ).json()
                if "EvalID" not in answered:
                    raise ValueError("an evaluation that was asked for has an id")
            except BaseNomadException as error:
                answer = error.nomad_resp
                if not (isinstance(answer, requests.Response) and nothing_to_evaluate(answer.text)):
                    raise
                self._require_namespace(ref.namespace)

    def read_variable(self, ref: JobRef) -> tuple[Mapping[str, str], int] | None:
        """Read the items and the index of the Variable at `nomad/jobs/<job id>`, or None."""
        with self._asking():
            variable = self._at(api.Variable, ref.namespace)
            read = self._unless_absent(
                "variable not found",
                ref.namespace,
                lambda: variable.get_variable(_variable(ref), namespace=ref.namespace),
            )
            return None if read is None else (dict(read["Items"]), int(read["ModifyIndex"]))

    def put_variable(self, ref: JobRef, items: Mapping[str, str], *, if_index: int) -> int:
        """Write the Variable if it is at `if_index` (0: absent); return its new index."""
        with self._asking():
            try:
                written = self._at(api.Variable, ref.namespace).create_variable(
                    _variable(ref), {"Items": dict(items)}, namespace=ref.namespace, cas=if_index
                )
            except VariableConflict:
                # Its body holds the secrets as they are now: nothing of it may reach a log.
                raise JobConflict(f"{_variable(ref)} is no longer at index {if_index}") from None
            return int(written["ModifyIndex"])

    def delete_variable(self, ref: JobRef) -> None:
        """Remove the Variable. Removing a missing one is fine."""
        with self._asking():
            self._at(api.Variable, ref.namespace).delete_variable(
                _variable(ref), namespace=ref.namespace
            )

    def changes(self, *, after: int, stop: threading.Event) -> Generator[Changes, None, None]:
        """Follow the event stream from `after` on, on one connection of its own."""
        several = len(self._namespaces) > 1
        access = {**self._access, "timeout": (CONNECT_S, SILENCE_S)}
        with self._asking():
            response = api.Event(**access, session=self._sessions.own()).stream.request(
                method="get",
                params={
                    "topic": TOPICS,
                    "index": after + 1 if after else 0,
                    "namespace": "*" if several else self._namespaces[0],
                },
                headers={"Accept-Encoding": "identity"},
                stream=True,
            )
        for message in follow(response, stop):
            yield self._ours(message) if several else message

    def _ours(self, message: Changes) -> Changes:
        return replace(
            message,
            changes=tuple(
                change
                for change in message.changes
                if isinstance(change, Node) or change.ref.namespace in self._namespaces
            ),
        )

    def _at(self, endpoint: type[Any], namespace: str) -> Any:
        # Making one costs two microseconds; the session with its connections is what is kept.
        return endpoint(**self._access, namespace=namespace, session=self._sessions.here())

    def _list(
        self, endpoint: type[Requester], read: Callable[[Json], Kept], params: Mapping[str, str]
    ) -> Listing[Kept]:
        with self._asking():
            # One list over all namespaces, whatever their number. One that is not there looks
            # empty, so whether they exist is a question of its own.
            found = _joined(self._pages(endpoint, read, {**params, "namespace": "*"}))
            self._require_namespaces()
            ours = [item for item in found.items if item.ref.namespace in self._namespaces]
            return Listing(found.index, ours)

    def _pages(
        self, endpoint: type[Requester], read: Callable[[Json], T], params: Mapping[str, str]
    ) -> Iterator[Listing[T]]:
        token: str | None = None
        while token != "":
            asked = {**params, "per_page": PER_PAGE, "next_token": token}
            response = self._at(endpoint, self._namespaces[0]).request(method="get", params=asked)
            items = [read(item) for item in response.json()]
            yield Listing(int(response.headers["X-Nomad-Index"]), items)
            token = response.headers.get("X-Nomad-Nexttoken", "")

    def _deregister(self, ref: JobRef, *, purge: bool) -> Registered:
        with self._asking():
            answer = self._at(api.Job, ref.namespace).deregister_job(
                _segment(ref.id), purge="true" if purge else None
            )
            if answer["JobModifyIndex"] == 0:
                # Nothing was there; a namespace that does not exist answers the same.
                self._require_namespace(ref.namespace)
            return Registered(index=answer["JobModifyIndex"], eval_id=answer["EvalID"])

    def _submit(self, job: Json, send: Callable[[], Json]) -> Json:
        """Send a job; where Nomad fails without saying why, ask whether the job is at fault."""
        try:
            return send()
        except BaseNomadException as error:
            if not _unexplained(error):
                raise
            judged = self._at(api.Validate, job["Namespace"]).validate_job({"Job": job}).json()
            if not judged["Error"]:
                raise
            raise JobRejected(words_of(judged["Error"])) from error

    def _unless_absent(self, words: str, namespace: str, read: Callable[[], Json]) -> Json | None:
        try:
            found = read()
        except URLNotFoundNomadException as error:
            if error.nomad_resp.text.strip() != words:
                raise
        else:
            # `null` is an answer of somebody else's, not the absence of what was asked for.
            return {**found}
        self._require_namespace(namespace)
        return None

    def _require_namespaces(self) -> None:
        there = {n["Name"] for n in self._at(api.Namespaces, "default").get_namespaces()}
        missing = sorted(set(self._namespaces) - there)
        if missing:
            raise ClusterForbidden(
                f"Nomad shows us no namespace {', '.join(missing)}: create it, let our token see"
                " it, or correct nomad.namespaces"
            )

    def _require_namespace(self, namespace: str) -> None:
        # Nomad finds nothing in a namespace that does not exist, in the same words as elsewhere.
        self._at(api.Namespace, namespace).get_namespace(_segment(namespace))

    def _learn_version(self) -> None:
        if self._version is None:
            try:
                with self._asking():
                    about = self._at(api.Agent, self._namespaces[0]).get_agent()
                    self._version = str(about["config"]["Version"]["Version"])
            except ClusterError:
                # Our token need not be allowed to know.
                self._version = ""

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn whatever a call can end in into what the caller should do about it."""
        try:
            yield
        except BaseNomadException as error:
            raise self._error(error) from error
        except OSError as error:
            raise self._no_answer(error) from error
        except decode.UNREADABLE as error:
            raise ClusterUnavailable(
                f"the answer from {self._address} is not Nomad's: {type(error).__name__}: {error}"
            ) from error

    def _error(self, error: BaseNomadException) -> ClusterError:
        answer = error.nomad_resp
        if isinstance(answer, requests.Response):
            return error_of(answer.status_code, answer.text)
        return self._no_answer(answer)

    def _no_answer(self, error: BaseException) -> ClusterUnavailable:
        return ClusterUnavailable(f"no answer from Nomad at {self._address}: {_root(error)}")


def _unexplained(error: BaseNomadException) -> bool:
    answer = error.nomad_resp
    return (
        isinstance(answer, requests.Response)
        and answer.status_code == 500
        and isinstance(error_of(500, answer.text), ClusterUnavailable)
    )


def _joined(listings: Iterable[Listing[T]]) -> Listing[T]:
    parts = list(listings)
    return Listing(
        min(part.index for part in parts), [item for part in parts for item in part.items]
    )


def _segment(text: str) -> str:
    """Quote one segment of a path; python-nomad quotes nothing."""
    if text in {"", ".", ".."}:
        raise JobRejected(f"{text!r} can't be named in a URL: choose another id")
    return quote(text, safe="")


def _variable(ref: JobRef) -> str:
    return f"nomad/jobs/{_segment(ref.id)}"


def _root(error: BaseException) -> BaseException:
    """Return what an error began with: the libraries wrap "connection refused" four times."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error
