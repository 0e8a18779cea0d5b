"""The sections of `etc/main_conf.yaml`: their keys, types and bounds (pure).

Units, defaults and reasons stand in the file; `reconciler.settings` reads it.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from reconciler.auth_sections import AuthSettings
from reconciler.catalog.hosts import Hosts, Refused
from reconciler.fields import (
    FileName,
    HostName,
    Issuer,
    Origin,
    PerMinute,
    RawTemplate,
    Section,
    Url,
    VoName,
    WholeNumber,
)
from reconciler.nomad_section import NomadSection
from reconciler.notify_section import NotificationSettings
from specs.model import Name
from specs.priorities import PriorityClass
from specs.repository import Repository
from specs.texts import shown


class GpuSettings(Section):
    """The device that `gpu_num` asks for, and whether `gpu_type` is a preference or a demand."""

    device: str = Field(default="nvidia/gpu", pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._ -]+){0,2}$")
    model: Literal["affinity", "constraint"] = "affinity"


class CpuSettings(Section):
    """How `cpu_num` is asked for; `mhz_per_cpu` counts where the unit is mhz."""

    unit: Literal["mhz", "cores"] = "mhz"
    mhz_per_cpu: WholeNumber = Field(default=1000, ge=1, le=100_000)


class EndpointSettings(Section):
    """How endpoints are shown; without a domain, at the container's own host and port."""

    scheme: Literal["http", "https"] = "http"
    domain: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")


class LimitSettings(Section):
    """What one request may ask for, and how many a caller may send; null: no limit."""

    body_bytes: WholeNumber = Field(default=1_048_576, ge=1024, le=16_777_216)
    body_s: float = Field(default=30, gt=0, le=3600, strict=True)
    header_bytes: WholeNumber = Field(default=32_768, ge=8192, le=1_048_576)
    requests_per_minute: PerMinute | None = 60_000
    writes_per_minute: PerMinute | None = 1_000
    vo_writes_per_minute: PerMinute | None = 10_000
    failed_logins_per_minute: PerMinute | None = 6_000
    long_polls: PerMinute | None = 20


class MetricsSettings(Section):
    """Who may read /metrics: networks of addresses."""

    allow: tuple[IPv4Network | IPv6Network, ...] = (
        ip_network("127.0.0.0/8"),
        ip_network("::1/128"),
    )


class DeletionSettings(Section):
    """How many deletions of one source in one hour need no person's yes, and the trash's days.

    More than `count` and more than `percent` of the source's deployments are held.
    """

    count: WholeNumber = Field(default=5, ge=0, le=1_000_000)
    percent: WholeNumber = Field(default=20, ge=0, le=100)
    trash_days: WholeNumber = Field(default=7, ge=0, le=3650)


Amount = Annotated[int, Field(strict=True, ge=0, le=2**53)]
QuotaItem = Annotated[
    str, Field(pattern=r"^(deployments|cpu_num|gpu_num|ram|disk|gpu_num:.{1,512})$")
]


class QuotaSettings(Section):
    """What every user, and every VO, may have at once; MB for ram and disk.

    `gpu_num:MODEL` limits the GPUs of wishes that name that model.
    """

    user: Mapping[QuotaItem, Amount] = {}
    vo: Mapping[VoName, Mapping[QuotaItem, Amount]] = {}
    over: Literal["queue", "refuse"] = "queue"


class SourceSettings(Section):
    """A folder or a git repository with spec files; `folder` is one of the repository's.

    `vos` None: every VO that is served.
    """

    name: Name | None = None
    url: str = Field(min_length=1, max_length=2048)
    ref: str = "main"
    folder: str = ""
    poll_s: float = Field(default=60, ge=5, le=86_400, strict=True)
    layout: Literal["document", "path"] | None = None
    vos: Annotated[tuple[VoName, ...], Field(min_length=1)] | None = None
    token_file: Path | None = None
    user: str = "x-access-token"

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.is_git:
            self.repository()
        elif self.ref != "main" or self.folder or self.token_file:
            raise ValueError(
                "ref, folder and token_file are for git repositories; a repository on this machine"
                " is named file:///path"
            )
        return self

    @property
    def is_git(self) -> bool:
        """Whether the URL names a repository; a bare path names a folder."""
        return is_git_url(self.url)

    @property
    def id(self) -> str:
        """What the source is called everywhere: what it owns is remembered by that."""
        if self.name is not None:
            return self.name
        if not self.is_git:
            return str(Path(self.url).absolute())
        return f"{self.url}@{self.ref}" + (f":{self.folder.strip('/')}" if self.folder else "")

    def repository(self) -> Repository:
        """Return what is to be read of the git repository. Raises: ValueError."""
        return Repository(self.url, self.ref, self.folder, self.token_file, self.user)


class SpecsSettings(Section):
    """The sources of spec files, and how what stands in them is understood."""

    layout: Literal["document", "path"] = "document"
    issuer: Issuer | None = None
    sources: tuple[SourceSettings, ...] = ()
    on_pass: tuple[str, ...] = ()

    @field_validator("sources")
    @classmethod
    def _are_told_apart(cls, sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
        ids = [source.id for source in sources]
        if twice := next((one for one in ids if ids.count(one) > 1), ""):
            raise ValueError(f"two sources are called {shown(twice)}: give each a name of its own")
        return sources


class CatalogSourceSettings(Section):
    """Where modules are listed; `ref`, `folder`, `token_file` and `user` are for type git.

    `file` is the name of the metadata in each module's repository, None: that of the list's form.
    """

    type: Literal["folder", "modules_yml", "gitmodules", "git"]
    url: str = Field(min_length=1, max_length=2048)
    name: Name | None = None
    file: FileName | None = None
    ref: str = "main"
    folder: str = ""
    token_file: Path | None = None
    user: str = "x-access-token"

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.type == "git":
            self.repository()
        elif self.ref != "main" or self.folder or self.token_file:
            raise ValueError("ref, folder and token_file are for sources of type git")
        if self.file and self.type in {"git", "folder"}:
            raise ValueError("file is for lists: here each module is one file")
        return self

    @property
    def id(self) -> str:
        """What the source is called everywhere: what was read of it is kept by that."""
        return self.name or (str(self.repository()) if self.type == "git" else self.url)

    def repository(self) -> Repository:
        """Return what is to be read of the git repository. Raises: ValueError."""
        return Repository(self.url, self.ref, self.folder, self.token_file, self.user)


class RegistrySettings(Section):
    """Where the tags of images are asked for; `hub` None: Docker Hub is asked as a registry."""

    hub: Url | None = "https://hub.docker.com"
    mirrors: Mapping[HostName, Url] = {"docker.io": "https://registry-1.docker.io"}
    cache_s: float = Field(default=3600, ge=1, le=604_800, strict=True)
    timeout_s: float = Field(default=3, gt=0, le=60, strict=True)


class ExchangeSettings(Section):
    """The catalogue of modules: its sources, and whom they may make us ask."""

    cache_s: float = Field(default=21_600, ge=10, le=604_800, strict=True)
    timeout_s: float = Field(default=10, gt=0, le=600, strict=True)
    concurrency: WholeNumber = Field(default=16, ge=1, le=64)
    hosts: tuple[HostName, ...] = (
        "raw.githubusercontent.com",
        "github.com",
        "gitlab.com",
        "hub.docker.com",
        "registry-1.docker.io",
        "auth.docker.io",
        "ghcr.io",
    )
    raw: Mapping[HostName, RawTemplate] = {}
    sources: tuple[CatalogSourceSettings, ...] = (
        CatalogSourceSettings(type="folder", url="modules"),
    )
    registry: RegistrySettings = RegistrySettings()

    @model_validator(mode="after")
    def _sources_can_be_asked(self) -> Self:
        ids = [source.id for source in self.sources]
        if twice := next((one for one in ids if ids.count(one) > 1), ""):
            raise ValueError(f"two sources are called {shown(twice)}: give each a name of its own")
        hosts = Hosts(self.hosts)
        for source in self.sources:
            if source.type in {"modules_yml", "gitmodules"}:
                try:
                    hosts.target(source.url)
                except Refused as error:
                    raise ValueError(f"{shown(source.url)} can't be asked: {error}") from error
        return self


def is_git_url(url: str) -> bool:
    """Whether a source's URL names a git repository: it has a scheme, or is user@host:path."""
    return "://" in url or re.match(r"[A-Za-z0-9._-]+@[^/:]+:", url) is not None


def source_of(text: str) -> SourceSettings:
    """Read a source as AI4PAPI_SPECS names it: a folder, or a git URL with `@ref` behind it.

    Raises: ValueError.
    """
    if not is_git_url(text):
        return SourceSettings(url=text)
    url, at, ref = text.rpartition("@")
    # What is before an @ of `user@host` is no address of a repository yet.
    if at and re.match(r"[a-z]+://[^/]*/.|[^/:@]+@[^/:]+:.", url):
        return SourceSettings(url=url, ref=ref)
    return SourceSettings(url=text)


class EventSettings(Section):
    """How long the timeline is kept."""

    days: WholeNumber = Field(default=30, ge=1, le=3650)


class MainConf(Section):
    """`etc/main_conf.yaml`; units, defaults and reasons stand in the file."""

    auth: AuthSettings
    nomad: NomadSection = NomadSection()
    gpu: GpuSettings = GpuSettings()
    cpu: CpuSettings = CpuSettings()
    endpoints: EndpointSettings = EndpointSettings()
    cors: tuple[Origin, ...] = ()
    limits: LimitSettings = LimitSettings()
    metrics: MetricsSettings = MetricsSettings()
    quotas: QuotaSettings = QuotaSettings()
    deletions: DeletionSettings = DeletionSettings()
    events: EventSettings = EventSettings()
    notifications: NotificationSettings = NotificationSettings()
    specs: SpecsSettings = SpecsSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    priorities: Mapping[Name, PriorityClass] = {}
    drift: Literal["repair", "report"] = "repair"
    orphans: Literal["report", "stop"] = "report"

    @field_validator("specs")
    @classmethod
    def _sources_are_for_vos_that_are_served(
        cls, specs: SpecsSettings, known: ValidationInfo
    ) -> SpecsSettings:
        served = known.data["auth"].VO if "auth" in known.data else ()
        for source in specs.sources:
            for vo in source.vos or ():
                if served and vo not in served:
                    raise ValueError(f"names the VO {shown(vo)}, which auth.VO does not")
        return specs

    @field_validator("notifications")
    @classmethod
    def _webhooks_are_for_vos_that_are_served(
        cls, notifications: NotificationSettings, known: ValidationInfo
    ) -> NotificationSettings:
        served = known.data["auth"].VO if "auth" in known.data else ()
        for webhook in notifications.webhooks:
            for vo in webhook.vos or ():
                if served and vo not in served:
                    raise ValueError(f"names the VO {shown(vo)}, which auth.VO does not")
        return notifications
