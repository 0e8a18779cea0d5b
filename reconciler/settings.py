"""What the operator chose: `etc/main_conf.yaml` and the environment, read once at start.

A file says what a site is, the environment what a machine is. Whatever is unknown or out of bounds
is refused here, all of it at once, with its place and with what is allowed.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, Self, cast, get_args

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from reconciler.auth_sections import AuthSettings
from reconciler.fields import Section, Url
from reconciler.jobs import JobRef
from reconciler.nomad_section import (
    DEFAULT_ADDRESS,
    NomadSection,
    NomadSettings,
    TargetSettings,
    refuse_absent,
    targets_of,
)
from reconciler.notify_section import NotificationSettings
from reconciler.sections import (
    CpuSettings,
    DeletionSettings,
    EndpointSettings,
    EventSettings,
    ExchangeSettings,
    GpuSettings,
    LimitSettings,
    MainConf,
    MetricsSettings,
    QuotaSettings,
    SpecsSettings,
    source_of,
)
from specs.priorities import PriorityClasses
from specs.sealing import Seal, keys_of
from specs.texts import near, pointer, shown
from specs.userconf import userconf_faults
from specs.yaml_text import Document, YamlFault, read_yaml

SECRET_VARIABLES: Final = frozenset(
    {
        "AI4PAPI_LOCAL_TOKEN",
        "AI4PAPI_HOOK_SECRET",
        "AI4PAPI_SECRET_KEY",
        "AI4PAPI_STORE_URL",
        "NOMAD_TOKEN",
        "NOMAD_HTTP_AUTH",
    }
)
"""Variables whose value no message repeats; a store's URL has its password inside."""


class SettingsFault(Exception):
    """The settings can't be used. `str()` says every fault, one a line, fit for the operator."""


class Environment(Section):
    """The environment variables that are read, by name; an empty one counts as not set."""

    AI4PAPI_ETC: Path | None = None
    AI4PAPI_STORE_URL: str = Field(
        default="sqlite:///var/ai4papi.db", pattern=r"^(sqlite:///|postgresql(\+psycopg)?://)"
    )
    AI4PAPI_CLUSTER: Literal["nomad", "simulated"] | None = None
    AI4PAPI_AUTH: Literal["oidc", "local"] = "oidc"
    # What an HTTP header can carry.
    AI4PAPI_LOCAL_TOKEN: str | None = Field(default=None, pattern=r"^[!-~]+$")
    AI4PAPI_SECRET_KEY: str | None = None
    AI4PAPI_SECRET_KEY_FILE: Path | None = None
    AI4PAPI_SPECS: str | None = None
    AI4PAPI_HOOK_SECRET: str | None = Field(default=None, min_length=16)
    AI4PAPI_RECONCILE: Literal["on", "off"] = "on"
    AI4PAPI_RESYNC_S: float = Field(default=300, gt=0, allow_inf_nan=False)
    AI4PAPI_AUDIT_S: float = Field(default=3600, gt=0, allow_inf_nan=False)
    AI4PAPI_WORKERS: int = Field(default=16, ge=1, le=256)
    HOST: str = "127.0.0.1"
    PORT: int = Field(default=8080, ge=0, le=65535)
    NOMAD_ADDR: Url | None = None
    NOMAD_TOKEN: str | None = None
    NOMAD_REGION: str | None = None
    NOMAD_CACERT: Path | None = None
    NOMAD_CLIENT_CERT: Path | None = None
    NOMAD_CLIENT_KEY: Path | None = None
    NOMAD_TLS_SERVER_NAME: str | None = None
    NOMAD_SKIP_VERIFY: bool = False
    NOMAD_HTTP_AUTH: str | None = Field(default=None, pattern=r"^[^:]+:")
    # Nomad gives these to the tasks that it runs.
    NOMAD_ALLOC_ID: str | None = None
    NOMAD_JOB_ID: str | None = None
    NOMAD_NAMESPACE: str = "default"

    @model_validator(mode="after")
    def _files_are_there(self) -> Self:
        for name in ("NOMAD_CACERT", "NOMAD_CLIENT_CERT", "NOMAD_CLIENT_KEY"):
            refuse_absent(name, getattr(self, name))
        if (self.NOMAD_CLIENT_CERT is None) != (self.NOMAD_CLIENT_KEY is None):
            raise ValueError("NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY go together: set both")
        return self


class Settings(Section):
    """Everything that a process is started with.

    `etc` is the folder that was read; `targets` are the site's clusters, at least one;
    `userconf` is the checked tree of `userconf.yaml`, `job_template` the text of `job.nomad`.
    """

    etc: Path
    store_url: str = Field(repr=False)
    cluster: Literal["nomad", "simulated"]
    auth_mode: Literal["oidc", "local"]
    local_token: str | None = Field(repr=False)
    secret_keys: tuple[str, ...] = Field(repr=False)
    hook_secret: str | None = Field(repr=False)
    reconcile: bool
    resync_s: float
    audit_s: float
    workers: int
    host: str
    port: int
    auth: AuthSettings
    targets: tuple[TargetSettings, ...]
    gpu: GpuSettings
    cpu: CpuSettings
    endpoints: EndpointSettings
    cors: tuple[str, ...]
    limits: LimitSettings
    metrics: MetricsSettings
    quotas: QuotaSettings
    deletions: DeletionSettings
    events: EventSettings
    notifications: NotificationSettings
    specs: SpecsSettings
    exchange: ExchangeSettings
    priorities: PriorityClasses
    drift: Literal["repair", "report"]
    orphans: Literal["report", "stop"]
    job_template: str = Field(repr=False)
    userconf: Mapping[str, Any] = Field(repr=False)


def load_settings(environ: Mapping[str, str], etc: Path | None = None) -> Settings:
    """Read the settings from `environ` and from the folder `etc`.

    Without `etc` the folder is the one that `AI4PAPI_ETC` names, else the packaged one.

    Raises `SettingsFault` with every fault of the first source that has one.
    """
    env = _read_environment(with_files(environ))
    folder = etc or env.AI4PAPI_ETC or packaged_etc()
    conf = _read_main_conf(folder / "main_conf.yaml")
    return Settings(
        etc=folder,
        store_url=env.AI4PAPI_STORE_URL,
        cluster=env.AI4PAPI_CLUSTER or ("nomad" if env.NOMAD_ADDR else "simulated"),
        auth_mode=env.AI4PAPI_AUTH,
        local_token=env.AI4PAPI_LOCAL_TOKEN,
        secret_keys=_secret_keys(env),
        hook_secret=env.AI4PAPI_HOOK_SECRET,
        reconcile=env.AI4PAPI_RECONCILE == "on",
        resync_s=env.AI4PAPI_RESYNC_S,
        audit_s=env.AI4PAPI_AUDIT_S,
        workers=env.AI4PAPI_WORKERS,
        host=env.HOST,
        port=env.PORT,
        auth=conf.auth,
        targets=_targets(folder, conf.nomad, _nomad_settings(env, conf.nomad.timeout_s)),
        gpu=conf.gpu,
        cpu=conf.cpu,
        endpoints=conf.endpoints,
        cors=conf.cors,
        limits=conf.limits,
        metrics=conf.metrics,
        quotas=conf.quotas,
        deletions=conf.deletions,
        events=conf.events,
        notifications=conf.notifications,
        specs=_with_source(conf.specs, env.AI4PAPI_SPECS),
        exchange=conf.exchange,
        priorities=conf.priorities,
        drift=conf.drift,
        orphans=conf.orphans,
        job_template=_read_text(folder / "job.nomad"),
        userconf=_read_userconf(folder / "userconf.yaml", vos=_known_vos(conf)),
    )


def with_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with the secrets that it names files for: NAME_FILE is read into NAME.

    So they stay out of process lists and of `docker inspect`. Raises `SettingsFault`.
    """
    read = dict(environ)
    for name in sorted(SECRET_VARIABLES - {"AI4PAPI_SECRET_KEY"}):  # keys of their own form
        path = environ.get(f"{name}_FILE")
        if not path:
            continue
        if environ.get(name):
            raise SettingsFault(f"{name} and {name}_FILE are both set: unset one")
        try:
            read[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise SettingsFault(f"{name}_FILE: {path} can't be read: {error}") from error
        if not read[name]:
            raise SettingsFault(f"{name}_FILE: {path} is empty")
    return read


def _with_source(specs: SpecsSettings, named: str | None) -> SpecsSettings:
    """Return `specs` with the source that the environment names. Raises `SettingsFault`."""
    if named is None:
        return specs
    try:
        found = [*specs.sources, source_of(named)]
        return SpecsSettings(**{**dict(specs), "sources": found})
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise SettingsFault(f"AI4PAPI_SPECS: {said}") from error


def _secret_keys(env: Environment) -> tuple[str, ...]:
    """Return the keys that secrets are sealed with, none where none is set."""
    path = env.AI4PAPI_SECRET_KEY_FILE
    try:
        if env.AI4PAPI_SECRET_KEY:
            keys = keys_of(env.AI4PAPI_SECRET_KEY)
        elif path is not None:
            keys = keys_of(path.read_text(encoding="ascii"))
        else:
            return ()
        Seal(keys)
    except (OSError, ValueError) as error:
        name = "AI4PAPI_SECRET_KEY" if env.AI4PAPI_SECRET_KEY else "AI4PAPI_SECRET_KEY_FILE"
        raise SettingsFault(f"{name}: {error}") from error
    return tuple(keys)


def packaged_etc() -> Path:
    """Return the folder `etc` that came with this code: a checkout's, else the wheel's."""
    checkout = Path(__file__).parents[1] / "etc"
    if (checkout / "main_conf.yaml").is_file():
        return checkout
    return Path(str(resources.files("ai4papi"))) / "etc"


def _targets(
    folder: Path, section: NomadSection, first: NomadSettings
) -> tuple[TargetSettings, ...]:
    try:
        return targets_of(section, first)
    except (OSError, ValueError) as error:
        # A ValueError may quote what it could not read, and that is a token.
        said = str(error) if isinstance(error, OSError) else "a token is one line of ASCII"
        raise SettingsFault(f"{folder / 'main_conf.yaml'}: nomad.clusters: {said}") from error


def _nomad_settings(env: Environment, timeout_s: float) -> NomadSettings:
    return NomadSettings(
        address=env.NOMAD_ADDR or DEFAULT_ADDRESS,
        token=env.NOMAD_TOKEN,
        region=env.NOMAD_REGION,
        cacert=env.NOMAD_CACERT,
        client_cert=env.NOMAD_CLIENT_CERT,
        client_key=env.NOMAD_CLIENT_KEY,
        tls_server_name=env.NOMAD_TLS_SERVER_NAME,
        skip_verify=env.NOMAD_SKIP_VERIFY,
        http_auth=env.NOMAD_HTTP_AUTH,
        timeout_s=timeout_s,
        own_job=_own_job(env),
    )


def _own_job(env: Environment) -> JobRef | None:
    if env.NOMAD_ALLOC_ID is None or env.NOMAD_JOB_ID is None:
        return None
    return JobRef(env.NOMAD_NAMESPACE, env.NOMAD_JOB_ID)


def _read_environment(environ: Mapping[str, str]) -> Environment:
    known = {name: environ[name] for name in Environment.model_fields if environ.get(name)}
    try:
        return Environment.model_validate(known)
    except ValidationError as error:
        raise _settings_fault(error, Environment, lambda at: at.removeprefix("/")) from error


def _read_main_conf(path: Path) -> MainConf:
    document = _read_document(path)
    tree = {} if document.tree is None else document.tree
    if isinstance(tree, dict):
        # A section whose keys are all commented out is there and empty.
        tree = {key: section for key, section in tree.items() if section is not None}
    try:
        conf = MainConf.model_validate(tree)
    except ValidationError as error:
        raise _settings_fault(error, MainConf, lambda at: _where(path, document, at)) from error
    missing = [vo for vo in conf.auth.VO if vo not in conf.nomad.everywhere]
    if missing:
        where = _where(path, document, "/nomad/namespaces")
        raise SettingsFault(f"{where}: no entry for {', '.join(missing)}; add its namespace")
    return conf


def _known_vos(conf: MainConf) -> Sequence[str]:
    # Also those that are no longer served: rules for them do no harm. A misspelt one would leave
    # its VO without a limit.
    return list(dict.fromkeys((*conf.auth.VO, *conf.nomad.everywhere)))


def _read_userconf(path: Path, *, vos: Sequence[str]) -> Mapping[str, Any]:
    document = _read_document(path)
    faults = [
        f"{_where(path, document, f.pointer)}: {f.message}"
        for f in userconf_faults(document.tree, vos)
    ]
    if faults:
        raise SettingsFault("\n".join(faults))
    tree: Mapping[str, Any] = document.tree
    return tree


def _read_document(path: Path) -> Document:
    try:
        return read_yaml(_read_text(path))
    except YamlFault as fault:
        raise SettingsFault(f"{path}:{fault.place.line}: {fault.message}") from fault


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise SettingsFault(
            f"{path}: can't be read: {error}; AI4PAPI_ETC names the folder"
        ) from error


def _where(path: Path, document: Document, at: str) -> str:
    return f"{path}:{document.place(at).line}: {at.removeprefix('/').replace('/', '.')}".rstrip(
        ": "
    )


def _settings_fault(
    error: ValidationError, model: type[BaseModel], where: Callable[[str], str]
) -> SettingsFault:
    lines = [
        ": ".join(
            part for part in (where(pointer("", *detail["loc"])), _said(detail, model)) if part
        )
        for detail in error.errors(include_url=False)
    ]
    return SettingsFault("\n".join(lines))


def _said(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """Return pydantic's words with the value, and for an unknown key what is allowed instead."""
    if detail["type"] == "extra_forbidden":
        *around, key = detail["loc"]
        allowed = list(_section(model, around).model_fields)
        hint = near(key, allowed)
        return f"unknown key; allowed: {', '.join(allowed)}{hint and '; ' + hint}"
    said = detail["msg"].removeprefix("Value error, ")
    secret = {*SECRET_VARIABLES, "webhooks"}.intersection(map(str, detail["loc"]))
    scalar = isinstance(detail["input"], str | int | float)
    return said if secret or not scalar else f"{said}, not {shown(detail['input'])}"


def _section(model: type[BaseModel], loc: list[int | str]) -> type[BaseModel]:
    kind: Any = model
    for key in loc:
        # A mapping of sections has the key's section as its last argument, a list its first.
        is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
        inner = [part for part in get_args(kind) if part is not ...]
        kind = kind.model_fields[str(key)].annotation if is_section else inner[-1]
    return cast("type[BaseModel]", kind)
