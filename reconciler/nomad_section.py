"""The section `nomad` of `etc/main_conf.yaml`: which clusters there are, and which VO runs where
(pure but for the files that it names)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from reconciler.fields import Namespace, Section, Url, VoName
from reconciler.jobs import JobRef

DEFAULT_ADDRESS: Final = "http://127.0.0.1:4646"

DEFAULT_CLUSTER: Final = "default"
"""The cluster that Nomad's own environment variables name."""

ClusterName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


def refuse_absent(name: str, file: Path | None) -> None:
    """Refuse a file that a setting names and that is not there. Raises: ValueError."""
    if file is not None and not file.is_file():
        raise ValueError(f"{name} names {file}, and there is no such file")


class NomadSettings(Section):
    """How one Nomad is reached. Paths are files in PEM form.

    `own_job` is the job that this process runs in, None where Nomad did not start it.
    """

    address: Url = DEFAULT_ADDRESS
    token: str | None = Field(default=None, repr=False)
    region: str | None = None
    cacert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    tls_server_name: str | None = None
    skip_verify: bool = False
    http_auth: str | None = Field(default=None, repr=False)
    timeout_s: float = 10
    own_job: JobRef | None = None


class ClusterSection(Section):
    """One further Nomad of the site, or another region of the one that the environment names.

    Without an `address` it is another region: reached as the environment says, as whom it says.
    With one, nothing of the environment goes there, and least of all its token.
    """

    namespaces: Mapping[VoName, Namespace] = Field(min_length=1)
    region: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,128}$")
    address: Url | None = None
    token_file: Path | None = None
    cacert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    tls_server_name: str | None = None

    @model_validator(mode="after")
    def _is_another(self) -> Self:
        if self.address is None and self.region is None:
            raise ValueError("give an address, or the region that the first Nomad reaches it by")
        own = ("token_file", "cacert", "client_cert", "client_key", "tls_server_name")
        said = [name for name in own if getattr(self, name) is not None]
        if self.address is None and said:
            raise ValueError(f"{', '.join(said)} goes with an address of its own")
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key go together: give both")
        for name in ("token_file", "cacert", "client_cert", "client_key"):
            refuse_absent(name, getattr(self, name))
        return self


class NomadSection(Section):
    """Section `nomad` of the file: what is the same for every machine of the site."""

    namespaces: Mapping[VoName, Namespace] = {}
    timeout_s: float = Field(default=10, gt=0, le=600, strict=True)
    clusters: Mapping[ClusterName, ClusterSection] = {}

    @model_validator(mode="after")
    def _every_vo_has_one_cluster(self) -> Self:
        if DEFAULT_CLUSTER in self.clusters:
            raise ValueError(
                f"clusters: {DEFAULT_CLUSTER} is the cluster that NOMAD_ADDR names; its VOs stand"
                " in nomad.namespaces"
            )
        seen: dict[str, str] = {}
        for name, namespaces in self._named():
            for vo in namespaces:
                if vo in seen:
                    raise ValueError(
                        f"{vo} has a namespace in two clusters, {seen[vo]} and {name}: keep one"
                    )
                seen[vo] = name
        return self

    @property
    def everywhere(self) -> dict[str, str]:
        """Nomad's namespace of every VO, in whichever cluster."""
        return {vo: its for _, namespaces in self._named() for vo, its in namespaces.items()}

    def _named(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        yield DEFAULT_CLUSTER, self.namespaces
        for name, cluster in self.clusters.items():
            yield name, cluster.namespaces


class TargetSettings(Section):
    """One cluster that deployments go to, with the namespace of every VO that runs there."""

    name: str
    namespaces: Mapping[str, str]
    nomad: NomadSettings


def targets_of(section: NomadSection, first: NomadSettings) -> tuple[TargetSettings, ...]:
    """Return the clusters of the site; `first` is the one that the environment names.

    That one is left out where no VO runs there and others do. Raises: OSError, ValueError where
    a file with a token can't be read.
    """
    further = tuple(
        TargetSettings(
            name=name,
            namespaces=cluster.namespaces,
            nomad=_nomad_of(cluster, first, timeout_s=section.timeout_s),
        )
        for name, cluster in section.clusters.items()
    )
    if further and not section.namespaces:
        return further
    own = TargetSettings(name=DEFAULT_CLUSTER, namespaces=section.namespaces, nomad=first)
    return (own, *further)


def _nomad_of(cluster: ClusterSection, first: NomadSettings, *, timeout_s: float) -> NomadSettings:
    if cluster.address is None:
        return first.model_copy(update={"region": cluster.region})
    token = cluster.token_file and cluster.token_file.read_text(encoding="ascii").strip()
    return NomadSettings(
        address=cluster.address,
        token=token or None,
        region=cluster.region,
        cacert=cluster.cacert,
        client_cert=cluster.client_cert,
        client_key=cluster.client_key,
        tls_server_name=cluster.tls_server_name,
        timeout_s=timeout_s,
        own_job=first.own_job,
    )
