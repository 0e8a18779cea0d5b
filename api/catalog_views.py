"""The shapes of what the Exchange API answers, with an example of each (pure)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, RootModel

from api.schemas import with_example
from specs.catalog.shelf import OverlayVersion, Stored
from specs.catalog.states import CatalogState
from specs.model import Shown

EXAMPLE_NAME: Final = "deep-oc-image-classification-tf"
EXAMPLE_SUMMARY: Final[dict[str, Any]] = {
    "name": EXAMPLE_NAME,
    "title": "Train an image classifier",
    "summary": "Train an image classifier with your own images, or use one that was.",
    "keywords": ["tensorflow", "image classification", "trainable"],
}
EXAMPLE_METADATA: Final[dict[str, Any]] = {
    **EXAMPLE_SUMMARY,
    "description": "Sorts images into the classes that you name.",
    "license": "MIT",
    "dates": {"created": "2019-07-31"},
    "links": {"source_code": "https://git.example.org/image-classification-tf"},
    "docker_image": "deephdc/deep-oc-image-classification-tf",
    "resources": {"cpu_num": 1, "ram": 8000},
}
EXAMPLE_FIELDS: Final = {"summary": "Train an image classifier with your own images."}

METADATA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Any fields of a module's metadata; each replaces what the source says of it.",
}


class ModuleNames(RootModel[list[str]]):
    """The names of modules, sorted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [[EXAMPLE_NAME, "deep-oc-obj-detect-pytorch"]]}
    )


class ModuleSummary(BaseModel):
    """A module in short; `fault` is there alone where its metadata can't be used, and says why."""

    model_config = with_example(EXAMPLE_SUMMARY)

    name: str
    title: str
    summary: str
    keywords: list[str]
    fault: str | None = None


class ModuleMetadata(BaseModel):
    """All that is known of a module; what only its own document has is there as it stood.

    Where its metadata can't be used there are only `name`, and `fault`, which says why.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [EXAMPLE_METADATA]})

    name: str
    title: str | None = None
    summary: str | None = None
    description: str | None = None
    keywords: list[str] | None = None
    license: str | None = None
    dates: Mapping[str, str] | None = None
    links: Mapping[str, str] | None = None
    docker_image: str | None = Field(default=None, description='without its tag; "": none')
    resources: Mapping[str, Any] | None = Field(
        default=None, description="the least it needs: cpu_num, gpu_num, ram and disk (MB)"
    )
    fault: str | None = None


class VersionView(Shown):
    """What an editor set at one version; no `fields`: the module is as its source has it again."""

    version: int
    author: str
    at: datetime
    fields: Mapping[str, Any] | None = None


class VersionList(Shown):
    """What editors set of one module, newest first."""

    model_config = with_example(
        {
            "items": [
                {
                    "version": 1,
                    "author": "Ada",
                    "at": "2026-11-24T12:00:00Z",
                    "fields": EXAMPLE_FIELDS,
                }
            ]
        }
    )

    items: Sequence[VersionView]


class ModuleFault(Shown):
    """A module that is listed with nothing but what is wrong with it."""

    name: str
    fault: str


class CatalogSourceView(Shown):
    """A source of modules: when it was read, until when that is good, and what is wrong there.

    `error` says why its list can't be had (""), `faults` which of its modules can't be used.
    """

    source: str
    kind: str
    url: str
    read_at: datetime | None = None
    expires_at: datetime | None = None
    error: str = ""
    modules: int
    faults: Sequence[ModuleFault] = ()


class CatalogSourceList(Shown):
    """Every source of modules, in the order of the settings: the first wins a name."""

    model_config = with_example(
        {
            "items": [
                {
                    "source": "https://git.example.org/catalog/MODULES.yml",
                    "kind": "modules_yml",
                    "url": "https://git.example.org/catalog/MODULES.yml",
                    "readAt": "2026-11-24T12:00:00Z",
                    "expiresAt": "2026-11-24T18:00:00Z",
                    "error": "",
                    "modules": 41,
                    "faults": [{"name": "my-module", "fault": "title: must be a text, not 3"}],
                }
            ]
        }
    )

    items: Sequence[CatalogSourceView]


def version_view(version: OverlayVersion) -> VersionView:
    """Return what an editor set as the API shows it."""
    return VersionView(
        version=version.version, author=version.author, at=version.at, fields=version.fields
    )


def source_view(state: CatalogState, modules: Iterable[Stored]) -> CatalogSourceView:
    """Return a source as the API shows it; `modules` are all of the catalogue's."""
    faults = [
        ModuleFault(name=module.name, fault=module.fault)
        for module in modules
        if module.source == state.source and module.fault
    ]
    return CatalogSourceView(
        source=state.source,
        kind=state.kind,
        url=state.url,
        read_at=state.read_at,
        expires_at=state.expires_at,
        error=state.error,
        modules=state.modules,
        faults=sorted(faults, key=lambda fault: fault.name),
    )
