"""From the settings to what reads each source of modules."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from reconciler.catalog.files import FolderReader, GitReader
from reconciler.catalog.hosts import Hosts
from reconciler.catalog.http import Http
from reconciler.catalog.lists import ListForm, ListReader, Pace
from reconciler.catalog.refresh import CatalogRefresh, CatalogSource
from reconciler.catalog.registry import Registry
from reconciler.sections import CatalogSourceSettings, ExchangeSettings
from reconciler.settings import Settings, SettingsFault
from specs.authorities import NoAuthorities, trust
from specs.catalog.indexes import RAW, read_gitmodules, read_modules_yml
from specs.catalog.reads import CatalogReader
from specs.git import GitTree
from specs.git_mirror import mirror_name
from specs.private import beside_store
from specs.store import SpecStore, utc_now

FORMS: Final = {
    "modules_yml": ListForm(read_modules_yml, "metadata.json", "v1"),
    "gitmodules": ListForm(read_gitmodules, "ai4-metadata.yml", "v2"),
}


def catalog_refreshes_of(
    settings: Settings,
    store: SpecStore,
    random: Callable[[], float],
    environ: Mapping[str, str] = os.environ,
) -> list[CatalogRefresh]:
    """Return what reads each source that the site has. Nothing is read yet.

    Raises: SettingsFault.
    """
    open_http = http_of(settings.exchange, environ)
    return [
        _refresh(source, rank, settings=settings, store=store, open_http=open_http, random=random)
        for rank, source in enumerate(settings.exchange.sources)
    ]


def registry_of(exchange: ExchangeSettings, environ: Mapping[str, str] = os.environ) -> Registry:
    """Return who knows the tags of images. Nobody is asked yet. Raises: SettingsFault."""
    settings = exchange.registry
    return Registry(
        http_of(exchange, environ),
        hub=settings.hub,
        mirrors=settings.mirrors,
        cache_s=settings.cache_s,
        timeout_s=settings.timeout_s,
    )


def http_of(exchange: ExchangeSettings, environ: Mapping[str, str]) -> Callable[[], Http]:
    """Return what opens the only way to the network that the settings leave.

    Raises: SettingsFault.
    """
    try:
        return partial(Http, Hosts(exchange.hosts), trust(environ))
    except NoAuthorities as error:
        raise SettingsFault(str(error)) from error


def _refresh(
    source: CatalogSourceSettings,
    rank: int,
    *,
    settings: Settings,
    store: SpecStore,
    open_http: Callable[[], Http],
    random: Callable[[], float],
) -> CatalogRefresh:
    folder = settings.etc / source.url if source.type == "folder" else None

    def make_reader(stopped: Callable[[], bool]) -> CatalogReader:
        if folder is not None:
            return FolderReader(folder)
        if source.type == "git":
            mirror = beside_store(settings.store_url, "catalogue") / mirror_name(source.id)
            tree = GitTree(source.repository(), mirror, stopped=stopped)
            return GitReader(tree, source.url)
        return _list_reader(source, settings.exchange, open_http, stopped)

    return CatalogRefresh(
        CatalogSource(source.id, source.type, source.url, rank),
        make_reader,
        store,
        cache_s=settings.exchange.cache_s,
        now=utc_now,
        random=random,
        watched=folder,
    )


def _list_reader(
    source: CatalogSourceSettings,
    exchange: ExchangeSettings,
    open_http: Callable[[], Http],
    stopped: Callable[[], bool],
) -> ListReader:
    form = FORMS[source.type]
    return ListReader(
        source.url,
        ListForm(form.read, source.file or form.file, form.format),
        open_http,
        templates={**RAW, **exchange.raw},
        pace=Pace(concurrency=exchange.concurrency, file_s=exchange.timeout_s),
        stopped=stopped,
    )
