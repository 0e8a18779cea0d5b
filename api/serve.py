"""The server: from settings to a running application. `ai4papi-run` and `main:app` start here.

The wiring of the HTTP face, and the only part of it that knows the reconciler.
"""

import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.auth import Authenticator, AuthFault, LocalAuthenticator, local_token, local_token_file
from api.connection import PatientConnection
from api.limits import LimitRules
from api.login import LoginView
from api.logs import NoLog, ReadLog
from api.operations import OrphanView
from api.problems import ClusterSilent
from api.routers.streams import Streams
from api.schemas import ComparisonView, FieldView, PlanView
from api.services import Services
from api.trust import browser_logins, oidc_authenticator
from reconciler.diff import FieldChange
from reconciler.errors import ClusterError, JobRejected, LogMissing
from reconciler.jobs import JobRef, Verdict
from reconciler.log_tails import tasks_of
from reconciler.logs import start_logging
from reconciler.reasons import why_not_placed
from reconciler.runtime import Runtime, open_runtime, site_keys
from reconciler.sections import LimitSettings
from reconciler.settings import Settings, SettingsFault, load_settings
from specs.faults import NewerStore, StoreUnavailable
from specs.loopback import is_loopback
from specs.model import SECRET_SET, Deployment
from specs.userconf import read_userconf

NO_AUTH_VARIABLES: Final = (
    "DISABLE_AUTHENTICATION_AND_ASSUME_AUTHENTICATED_USER",
    "DISABLE_AUTHORIZATION_AND_ASSUME_AUTHORIZED_USER",
)
"""With one of them, flaat lets everybody in as anybody, or everybody do anything."""

CONFIDENTIAL: Final = re.compile(r"pass|secret|token|credential|auth", re.IGNORECASE)
"""Names of fields whose values no plan shows: `etc/job.nomad` may log in to a registry."""

GRACE_S: Final = 3
"""How long a stopping server waits for long polls before it ends them."""


class StartRefused(Exception):
    """The server must not start like this; `str()` says what to change."""


def main() -> None:
    """Run the console script `ai4papi-run`."""
    # Without rich's tracebacks: they are long, and may show the values of variables.
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    cli.command()(run)
    cli()


def run(
    host: Annotated[str | None, typer.Option(help="Address to listen on; HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; PORT.")] = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Key for TLS, in PEM form.")
    ] = None,
    ssl_certfile: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Certificate for TLS, with its chain."),
    ] = None,
) -> None:
    """Serve the AI4EOSC Platform API and keep its deployments running."""
    start_logging()
    with _sentences():
        refuse_bad_certificate(ssl_certfile, ssl_keyfile)
        settings = read_settings(os.environ)
        address = settings.host if host is None else host
        refuse_open_door(settings, address)
        runtime, app = build(settings)
    config = uvicorn.Config(
        app,
        host=address,
        port=settings.port if port is None else port,
        ssl_keyfile=ssl_keyfile,
        ssl_certfile=ssl_certfile,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        http=PatientConnection,
        # The application tells who sent too much; past twice that, the connection is closed.
        h11_max_incomplete_event_size=2 * settings.limits.header_bytes,
        log_config=None,
        log_level="warning",
        access_log=False,
    )
    # uvicorn ends by the very signal that stopped it; a stop that was asked for is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    streams: Streams = app.state.streams
    _Server(config, lambda url: greet(settings, runtime.title, url), streams).run()


def open_app() -> FastAPI:
    """Return the application for the environment's settings, for `uvicorn main:app`.

    In local mode it answers on loopback addresses only, whatever uvicorn binds. How long a client
    may take over its headers, and how long they may be before they are looked at, is uvicorn's
    affair here.
    """
    start_logging()
    with _sentences():
        return build(read_settings(os.environ))[1]


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings to serve with. Raises `SettingsFault`, `StartRefused`."""
    for name in NO_AUTH_VARIABLES:
        if name in environ:
            raise StartRefused(f"{name} would let everybody in: unset it")
    return load_settings(environ)


def refuse_open_door(settings: Settings, host: str) -> None:
    """Raise `StartRefused` where local authentication would be offered to other machines."""
    if settings.auth_mode == "local" and not is_loopback(host):
        raise StartRefused(
            f"local authentication serves this machine only, and {host!r} is not a loopback"
            " address: use --host 127.0.0.1"
        )


def refuse_bad_certificate(certfile: Path | None, keyfile: Path | None) -> None:
    """Raise `StartRefused` where the server could not speak TLS with these files."""
    if certfile is None:
        if keyfile is not None:
            raise StartRefused("--ssl-keyfile needs --ssl-certfile: give both for TLS")
        return
    try:
        # A password for the key would be asked for at the terminal, where there may be none.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certfile, keyfile, password="")
    except (OSError, ValueError) as error:
        files = certfile if keyfile is None else f"{certfile} and {keyfile}"
        raise StartRefused(
            f"{files} are no certificate and its key, in PEM form and without a password: {error}"
        ) from error


def build(settings: Settings) -> tuple[Runtime, FastAPI]:
    """Return a runtime that is ready to start and its application. Raises `AuthFault`."""
    authenticate = authenticator(settings)
    runtime = open_runtime(settings)
    return runtime, create_app(services_of(runtime, authenticate), running=running(runtime))


def services_of(runtime: Runtime, authenticate: Authenticator) -> Services:
    """Return what the HTTP face needs of `runtime`."""
    settings = runtime.settings
    return Services(
        store=runtime.store,
        conf=read_userconf(settings.userconf),
        auth=authenticate,
        preview=previewer(runtime.preview, gpu_model=settings.gpu.model),
        compare=comparer(runtime.compare, gpu_model=settings.gpu.model),
        orphans=orphans_of(runtime.orphans),
        read_log=log_reader(runtime.read_log),
        tasks_of=tasks_of,
        faults=runtime.faults,
        ready=runtime.ready,
        unready=runtime.unready,
        measures=runtime.measures,
        metrics_for=settings.metrics.allow,
        cluster_title=runtime.title,
        trash_for=timedelta(days=settings.deletions.trash_days),
        gpus=runtime.gpu_models,
        image_tags=runtime.registry.tags,
        priorities=settings.priorities,
        login=login_of(settings),
        limits=limit_rules(settings.limits),
        max_body_bytes=settings.limits.body_bytes,
        max_header_bytes=settings.limits.header_bytes,
        body_s=settings.limits.body_s,
        local_only=settings.auth_mode == "local",
        cors=settings.cors,
        hook_secret=settings.hook_secret,
        standing=runtime.replica.standing,
        session_keys=tuple(site_keys(settings)),
        browser_logins=browser_logins(settings.auth, os.environ)
        if settings.auth_mode == "oidc"
        else (),
        rooms=runtime.rooms,
        loop_state=runtime.loop_state,
    )


def login_of(settings: Settings) -> LoginView:
    """Return what is told to those who want to log in."""
    auth = settings.auth
    if settings.auth_mode == "local":
        return LoginView(mode="local", issuers=(), vos=auth.VO[:1], scopes=())
    return LoginView(
        mode="oidc", issuers=auth.OP, vos=auth.VO, scopes=auth.scopes, client_id=auth.client_id
    )


def limit_rules(limits: LimitSettings) -> LimitRules:
    """Return what a caller may ask for."""
    return LimitRules(
        user_requests=limits.requests_per_minute,
        user_writes=limits.writes_per_minute,
        vo_writes=limits.vo_writes_per_minute,
        address_failures=limits.failed_logins_per_minute,
        user_waits=limits.long_polls,
    )


def authenticator(settings: Settings) -> Authenticator:
    """Return who may come in. Raises `AuthFault`."""
    if settings.auth_mode == "oidc":
        return oidc_authenticator(settings.auth, os.environ)
    token = settings.local_token or local_token(local_token_file(settings.store_url))
    return LocalAuthenticator(token=token, vo=settings.auth.VO[0])


def previewer(
    preview: Callable[[Deployment], Verdict], *, gpu_model: str
) -> Callable[[Deployment], PlanView]:
    """Return a preview that answers in words, also while the cluster does not answer."""

    def previewed(deployment: Deployment) -> PlanView:
        try:
            return plan_view(preview(deployment), deployment, gpu_model=gpu_model)
        except ClusterError as error:
            return unanswered(error)

    return previewed


def unanswered(error: ClusterError) -> PlanView:
    """Return what is said where there is no verdict."""
    if isinstance(error, JobRejected):
        return PlanView(effect="refused", fits=False, message=str(error))
    return PlanView(effect="unknown", message="the cluster does not answer now")


def plan_view(verdict: Verdict, deployment: Deployment, *, gpu_model: str) -> PlanView:
    """Return the scheduler's verdict on a deployment in the words of the API."""
    message = ""
    if not verdict.fits:
        hardware = deployment.target.hardware
        message = why_not_placed(verdict.failures, hardware, gpu_model=gpu_model).message
    match verdict.effect:
        case "creates":
            return PlanView(effect="creates", fits=verdict.fits, message=message)
        case "in place":
            return PlanView(effect="in place", fits=verdict.fits, message=message)
        case "restarts":
            return PlanView(effect="restarts", fits=verdict.fits, message=message)
        case _:
            return PlanView(effect="unchanged", fits=verdict.fits, message=message)


def comparer(
    compare: Callable[[Deployment], tuple[Verdict, Sequence[FieldChange]]],
    *,
    gpu_model: str,
) -> Callable[[Deployment], ComparisonView]:
    """Return a comparison that answers in words, also while the cluster does not answer."""

    def compared(deployment: Deployment) -> ComparisonView:
        try:
            verdict, changes = compare(deployment)
        except ClusterError as error:
            return ComparisonView(**dict(unanswered(error)))
        plan = plan_view(verdict, deployment, gpu_model=gpu_model)
        return ComparisonView(**dict(plan), changes=tuple(map(field_view, changes)))

    return compared


def field_view(change: FieldChange) -> FieldView:
    """Return a field that differs, without what an operator's template may keep to itself."""
    return FieldView(
        path=change.path,
        wanted=_masked(change.wanted, change.path),
        actual=_masked(change.actual, change.path),
    )


def _masked(value: Any, path: str) -> Any:
    if value is not None and CONFIDENTIAL.search(path):
        return SECRET_SET
    if isinstance(value, Mapping):
        return {key: _masked(inner, key) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner, "") for inner in value]
    return value


def log_reader(read: ReadLog) -> ReadLog:
    """Return how to read logs in words of the API."""

    def reading(*which: Any, **how: Any) -> Generator[bytes, None, None]:
        try:
            yield from read(*which, **how)
        except LogMissing as error:
            raise NoLog(f"the cluster has no such log: {error}") from error
        except ClusterError as error:
            raise ClusterSilent("the cluster does not answer now") from error

    return reading


def orphans_of(find: Callable[[], Sequence[JobRef]]) -> Callable[[], Sequence[OrphanView]]:
    """Return how to find the orphaned jobs; it raises `ClusterSilent`."""

    def orphans() -> Sequence[OrphanView]:
        try:
            return [OrphanView(namespace=ref.namespace, job_id=ref.id) for ref in find()]
        except ClusterError as error:
            raise ClusterSilent("the cluster does not answer now") from error

    return orphans


def running(runtime: Runtime) -> Callable[[], AbstractContextManager[None]]:
    """Return a context that keeps the reconciler of `runtime` at work."""

    @contextmanager
    def at_work() -> Iterator[None]:
        runtime.start()
        try:
            yield
        finally:
            runtime.stop()

    return at_work


def greet(settings: Settings, cluster_title: str, url: str) -> str:
    """Return what the operator is told when the server is up. Never the token itself."""
    cluster = cluster_title
    if settings.cluster == "simulated":
        cluster += " (nothing really runs; set NOMAD_ADDR for a real Nomad)"
    where = "that of AI4PAPI_LOCAL_TOKEN"
    if settings.auth_mode == "oidc":
        where = f"of {' or '.join(settings.auth.OP)}"
    elif not settings.local_token:
        where = f"in {local_token_file(settings.store_url)}"
    lines = {"API": url, "docs": f"{url}/docs", "cluster": cluster, "token": where}
    return "\n".join(f"{name:<8} {text}" for name, text in lines.items())


class _Server(uvicorn.Server):
    """Says where it is once it really listens there, and ends streams when it stops."""

    def __init__(
        self, config: uvicorn.Config, greeting: Callable[[str], str], streams: Streams
    ) -> None:
        super().__init__(config)
        self._greeting = greeting
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # They would go on for as long as their clients do.
        self._streams.end()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            scheme = "https" if self.config.is_ssl else "http"
            typer.echo(self._greeting(f"{scheme}://{shown}:{port}"))


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn what keeps the server from starting into one sentence and exit code 1."""
    try:
        yield
    except (SettingsFault, AuthFault, StartRefused, NewerStore, StoreUnavailable) as fault:
        raise SystemExit(f"ai4papi-run: {fault}") from fault


if __name__ == "__main__":
    main()
