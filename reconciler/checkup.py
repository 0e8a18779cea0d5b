"""`ai4papi doctor`, the site's half: what a server would meet here. Nothing is written anywhere."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Literal

import requests
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from reconciler.cluster.protocol import Cluster
from reconciler.cluster.session import NomadAdapter, client_certificate, open_session, trusted
from reconciler.errors import ClusterError
from reconciler.jobs import JobRef
from reconciler.nomad_section import NomadSettings, TargetSettings
from reconciler.runtime import open_cluster, open_store
from reconciler.settings import Settings, SettingsFault, load_settings
from reconciler.target import Template
from specs.faults import StoreUnavailable

LEAST_FREE: Final = 1 << 30
"""Bytes that a disk with a store should have left."""

MOST_SKEW_S: Final = 30.0
"""Tokens are judged by our clock; providers and Nomad stamp with theirs."""

TIMEOUT_S: Final = (3.0, 5.0)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, how it is, and what to do about it ("": nothing)."""

    name: str
    verdict: Literal["ok", "warning", "failed", "skipped"]
    message: str
    hint: str = ""


def check_site(environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield one check after the other, none of which takes more than some seconds."""
    try:
        settings = load_settings(environ)
    except SettingsFault as fault:
        yield Check(
            "settings", "failed", str(fault), "mend what is named; the server would not start"
        )
        return
    yield Check("settings", "ok", f"read from {settings.etc}")
    yield _store(settings)
    yield _disk(settings)
    yield _key(settings)
    yield from _clusters(settings)
    yield from _providers(settings)
    yield _git(settings)


def skew(date: str | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Return by how many seconds our clock is ahead of a Date header; None: there is none."""
    if not date:
        return None
    try:
        return now() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def skew_check(name: str, date: str | None, *, now: Callable[[], float] = time.time) -> Check:
    """Judge our clock by another's Date header."""
    ahead_s = skew(date, now=now)
    if ahead_s is None:
        return Check(name, "skipped", "no Date in the answer")
    if abs(ahead_s) > MOST_SKEW_S:
        told = f"this clock differs by {abs(ahead_s):.0f} s"
        return Check(name, "warning", told, "run an NTP client here: tokens have times")
    return Check(name, "ok", f"within {MOST_SKEW_S:.0f} s")


def _store(settings: Settings) -> Check:
    url = make_url(settings.store_url)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        return Check("store", "warning", f"{url.database} is not there", "the first start makes it")
    try:
        store = open_store(settings)
    except (SettingsFault, ValueError) as error:
        return Check("store", "failed", str(error))
    try:
        identity = store.identity()
        count = sum(store.phases().values())
    except StoreUnavailable as error:
        return Check(
            "store", "failed", str(error), "is AI4PAPI_STORE_URL right, and its server up?"
        )
    except SQLAlchemyError as error:
        told = f"no tables of ours: {type(error).__name__}"
        return Check("store", "warning", told, "the first start makes them")
    finally:
        store.close()
    return Check("store", "ok", f"{identity.store_id}, {count} deployments")


def _disk(settings: Settings) -> Check:
    url = make_url(settings.store_url)
    if url.get_backend_name() != "sqlite":
        return Check("disk", "skipped", "the store is not on this machine's disk")
    folder = Path(str(url.database)).absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    told = f"{free >> 20} MB free in {folder}"
    if free < LEAST_FREE:
        return Check("disk", "warning", told, "a full disk takes no writes: make room")
    return Check("disk", "ok", told)


def _key(settings: Settings) -> Check:
    if settings.secret_keys or settings.auth_mode == "local":
        return Check("secret key", "ok", "secrets are sealed; keep a copy of the key apart")
    told = "AI4PAPI_SECRET_KEY is not set: specs with passwords are refused"
    return Check("secret key", "warning", told, "set AI4PAPI_SECRET_KEY_FILE")


def _clusters(settings: Settings) -> Iterator[Check]:
    if settings.cluster == "simulated":
        yield Check("nomad", "warning", "simulated: nothing really runs", "set NOMAD_ADDR")
        return
    for target in settings.targets:
        several = len(settings.targets) > 1
        yield from _cluster(settings, target, f"nomad {target.name}" if several else "nomad")


def _cluster(settings: Settings, target: TargetSettings, name: str) -> Iterator[Check]:
    date, trouble = _nomad_date(target.nomad)
    if trouble:
        yield Check(name, "failed", trouble, "is its address right, and its certificate?")
        return
    yield skew_check(f"clock against {name}", date)
    cluster = open_cluster(settings, target)
    for part, ask in _questions(cluster, settings, target).items():
        try:
            ask()
        except ClusterError as error:
            hint = "see etc/nomad-policy.hcl for what it needs"
            yield Check(f"{name}: {part}", "failed", str(error), hint)
            return
    yield Check(name, "ok", f"{cluster.title}; the token reads all that it must")


def _questions(
    cluster: Cluster, settings: Settings, target: TargetSettings
) -> Mapping[str, Callable[[], object]]:
    first = min(target.namespaces.values(), default="default")
    return {
        "namespaces and jobs": cluster.list_jobs,
        "allocations": cluster.list_allocations,
        "evaluations": cluster.list_evaluations,
        "rollouts": cluster.list_rollouts,
        "nodes": cluster.list_nodes,
        "variables": lambda: cluster.read_variable(JobRef(first, "ai4papi-doctor")),
        "etc/job.nomad": Template(cluster, settings.job_template),
    }


def _nomad_date(nomad: NomadSettings) -> tuple[str | None, str]:
    certificate: Any = client_certificate(nomad) or None
    with open_session(nomad, NomadAdapter(nomad.tls_server_name)) as session:
        try:
            answer = session.get(
                f"{nomad.address.rstrip('/')}/v1/status/leader",
                timeout=TIMEOUT_S,
                verify=trusted(nomad),
                cert=certificate,
            )
        except requests.RequestException as error:
            return None, f"no answer from {nomad.address}: {type(error).__name__}"
    if answer.status_code != 200:
        return None, f"{nomad.address} answers {answer.status_code}"
    return answer.headers.get("Date"), ""


def _providers(settings: Settings) -> Iterator[Check]:
    if settings.auth_mode == "local":
        yield Check("providers", "skipped", "local authentication asks none")
        return
    for issuer in settings.auth.OP:
        name = f"provider {issuer}"
        try:
            answer = requests.get(
                f"{issuer.rstrip('/')}/.well-known/openid-configuration",
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
            told = answer.json().get("issuer")
        except (requests.RequestException, ValueError, AttributeError) as error:
            yield Check(name, "failed", f"no discovery document: {type(error).__name__}")
            continue
        if told != issuer:
            yield Check(name, "failed", "it names another issuer", "write auth.OP as it does")
        else:
            yield skew_check(name, answer.headers.get("Date"))


def _git(settings: Settings) -> Check:
    if not any(source.url.startswith(("http", "ssh", "git")) for source in settings.specs.sources):
        return Check("git", "skipped", "no source of spec files is in git")
    found = shutil.which("git")
    if found is None:
        return Check("git", "failed", "no `git` program on PATH", "install it")
    return Check("git", "ok", found)
