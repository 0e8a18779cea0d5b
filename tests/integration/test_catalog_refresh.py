"""The refresher: what it stores, when it reads, and what a source in trouble leaves alone."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.catalog.refresh import CatalogRefresh, CatalogSource, asked_catalogs
from reconciler.catalog.sources import catalog_refreshes_of, registry_of
from reconciler.runtime import open_runtime
from reconciler.settings import SettingsFault, load_settings, packaged_etc
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.catalog.states import CatalogState
from specs.faults import StoreUnavailable
from specs.store import SpecStore
from specs.trees import SourceUnavailable
from tests.catalog_server import CatalogServer, early
from tests.real import wait_until

START = datetime(2026, 1, 2, tzinfo=UTC)
SOURCE = CatalogSource("market", "modules_yml", "https://git.example.org/MODULES.yml", 0)


class Reader:
    """A source that says what the test wants."""

    def __init__(self):
        self.known = []
        self.answer = CatalogRead(
            [ModuleRead("a", "v1", "1", early("a")), ModuleRead("b", "v1", fault="x")]
        )

    def read(self, known):
        self.known.append(known)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Site:
    def __init__(self, store):
        self.store = store
        self.reader = Reader()
        self.now = START
        self.refresh = CatalogRefresh(
            SOURCE,
            lambda _: self.reader,
            self.store,
            cache_s=3600,
            now=lambda: self.now,
            random=lambda: 0.0,
        )

    @property
    def state(self):
        return next(one for one in self.store.catalog_states() if one.source == "market")

    @property
    def modules(self):
        return self.store.catalog().modules


@pytest.fixture
def store(tmp_path):
    store = SpecStore(f"sqlite:///{tmp_path}/store.db")
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def site(store):
    return Site(store)


def lock(store, monkeypatch):
    def refuse(*_):
        raise StoreUnavailable("database is locked")

    for name in ("catalog_known", "catalog_asks"):
        monkeypatch.setattr(store, name, refuse)


class Ended(threading.Event):
    """A stop that is set after so many looks at it."""

    def __init__(self, looks):
        super().__init__()
        self._looks = looks

    def is_set(self):
        self._looks -= 1
        return self._looks < 0

    def wait(self, timeout=None):
        return self.is_set()


def test_a_read_is_stored_with_when_it_was_and_when_it_gets_too_old(site):
    site.refresh.run_once()
    assert site.state == CatalogState(
        source="market",
        kind="modules_yml",
        url=SOURCE.url,
        read_at=START,
        expires_at=START + timedelta(hours=1),
        modules=2,
        faults=1,
    )
    site.reader.answer = CatalogRead([], same=["a"])
    site.refresh.run_once()
    assert site.reader.known == [{}, {"a": "1"}]
    assert (site.state.modules, site.state.faults) == (1, 0)


def test_a_source_that_is_down_changes_nothing_but_its_age(site):
    site.refresh.run_once()
    before, modules = site.state, site.modules
    site.reader.answer = SourceUnavailable("git.example.org took too long to answer")
    site.now = START + timedelta(hours=5)
    with pytest.raises(SourceUnavailable):
        site.refresh.run_once()
    assert site.modules == modules
    assert site.state == before.model_copy(
        update={"error": "git.example.org took too long to answer"}
    )
    site.reader.answer = CatalogRead([], same=["a", "b"])
    site.refresh.run_once()
    assert (site.state.error, site.state.read_at) == ("", site.now)


def test_a_source_that_never_could_be_read_is_told_too(site):
    site.reader.answer = SourceUnavailable("gone")
    with pytest.raises(SourceUnavailable):
        site.refresh.run_once()
    assert (site.state.error, site.state.read_at, site.state.expires_at) == ("gone", None, None)


@pytest.mark.parametrize("trouble", [SourceUnavailable("gone"), ValueError("a bug"), "locked"])
def test_a_failure_of_any_kind_is_tried_again(site, trouble, monkeypatch):
    waits = []
    monkeypatch.setattr(site.refresh._passes, "_wait", lambda s, _: waits.append(s))
    if trouble == "locked":
        lock(site.store, monkeypatch)
    else:
        site.reader.answer = trouble
    site.refresh.run(Ended(9))
    assert waits == sorted(waits)
    assert len(waits) >= 3
    assert 0 < waits[0] < waits[2] <= 60


def test_a_good_read_waits_until_it_is_woken(site, monkeypatch):
    waits = []
    monkeypatch.setattr(site.refresh._passes, "_wait", lambda s, _: waits.append(s))
    site.refresh.run(Ended(1))
    assert waits == [None]


def test_it_is_read_again_before_it_gets_too_old(site):
    assert site.refresh.poll_s * 1.1 < 3600


def test_whoever_asks_in_any_process_has_every_source_read(site):
    woken = []
    site.refresh.wake = lambda: woken.append(site.store.catalog_asks())
    asked = asked_catalogs(site.store, [site.refresh])

    class Asking(threading.Event):
        def wait(self, timeout=None):
            if not site.store.catalog_asks():
                site.store.ask_catalogs()
            return False

    asked.rung = Asking()
    asked.run(Ended(6))
    assert woken == [1]


def test_a_locked_store_ends_no_thread(site, monkeypatch):
    lock(site.store, monkeypatch)
    asked_catalogs(site.store, [site.refresh]).run(Ended(4))


def settings_of(tmp_path, exchange):
    etc = tmp_path / "etc"
    etc.mkdir()
    for path in packaged_etc().glob("*.*"):
        (etc / path.name).write_bytes(path.read_bytes())
    conf = (etc / "main_conf.yaml").read_text()
    start, end = conf.index("\nexchange:"), conf.index("\nevents:")
    (etc / "main_conf.yaml").write_text(f"{conf[:start]}\n{exchange}\n{conf[end:]}")
    return load_settings({"AI4PAPI_STORE_URL": f"sqlite:///{tmp_path}/store.db"}, etc)


def test_the_settings_say_what_is_read_and_in_which_order(tmp_path, store):
    with CatalogServer() as server:
        settings = settings_of(
            tmp_path,
            f"""
exchange:
  cache_s: 600
  hosts: ["{server.host}"]
  raw: {{"{server.host}": "{server.templates[server.host]}"}}
  sources:
    - {{type: modules_yml, url: "{server.origin}/MODULES.yml"}}
    - {{type: gitmodules, url: "{server.origin}/.gitmodules", name: today}}
    - {{type: folder, url: modules}}
""",
        )
        (tmp_path / "etc" / "modules").mkdir()
        for name in ("own", server.names[0]):
            (tmp_path / "etc" / "modules" / f"{name}.json").write_text(json.dumps(early(name)))
        refreshes = catalog_refreshes_of(settings, store, lambda: 0.0, {})
        for refresh in refreshes:
            refresh.run_once()
    assert [refresh.source.id for refresh in refreshes] == [
        f"{server.origin}/MODULES.yml",
        "today",
        "modules",
    ]
    modules = store.catalog().modules
    assert list(modules) == [*server.names, "own"]
    assert {modules[name].source for name in server.names} == {f"{server.origin}/MODULES.yml"}
    assert modules["own"].source == "modules"
    assert {(state.modules, state.faults, state.error) for state in store.catalog_states()} == {
        (3, 0, ""),
        (2, 0, ""),
    }


def test_the_modules_that_come_with_the_program_are_there(store):
    [refresh] = catalog_refreshes_of(load_settings({}), store, lambda: 0.0, {})
    refresh.run_once()
    state = store.catalog_states()[0]
    assert state.modules == len(store.catalog().modules) > 0
    assert (state.faults, state.error) == (0, "")


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        ("sources: [{type: modules_yml, url: 'https://evil.net/M.yml'}]", "not among"),
        ("sources: [{type: folder, url: a}, {type: folder, url: a}]", "two sources are called"),
        ("sources: [{type: folder, url: a, ref: x}]", "are for sources of type git"),
        ("sources: [{type: git, url: 'https://u:p@git.example.org/a'}]", "token_file"),
        ("hosts: ['https://git.example.org']", "is no host"),
        ("raw: {git.example.org: 'https://{path}/{branch}/{file}'}", "host is written out"),
        ("sources: [{type: web, url: a}]", "folder"),
        ("cache_s: 0", "greater than or equal to 10"),
    ],
)
def test_bad_settings_are_refused_with_file_and_line(tmp_path, exchange, said):
    with pytest.raises(SettingsFault, match=said) as fault:
        settings_of(tmp_path, f"exchange:\n  {exchange}")
    assert "main_conf.yaml:" in str(fault.value)


def test_authorities_that_can_not_be_read_stop_the_start():
    with pytest.raises(SettingsFault, match="SSL_CERT_FILE"):
        registry_of(load_settings({}).exchange, {"SSL_CERT_FILE": "/nowhere"})


def test_the_loop_reads_the_catalogue_and_whoever_asks_another_process_is_heard(tmp_path):
    """What one process reads, all show; a source that goes down then takes nothing away."""
    with CatalogServer() as server:
        settings = settings_of(
            tmp_path,
            f"""
exchange:
  hosts: ["{server.host}"]
  raw: {{"{server.host}": "{server.templates[server.host]}"}}
  sources: [{{type: modules_yml, url: "{server.origin}/MODULES.yml"}}]
""",
        )
        runtime = open_runtime(settings)
        other = SpecStore(settings.store_url)
        runtime.start()
        try:
            wait_until(lambda: len(other.catalog().modules) == 3, within_s=20)
            assert not runtime.faults()
            first = server.names[0]
            server.metadata[first] = json.dumps({**early(first), "title": "Anew"}).encode()
            other.ask_catalogs()
            wait_until(lambda: titles(other)[first] == "Anew", within_s=20)
            server.down = True
            other.ask_catalogs()
            wait_until(lambda: other.catalog_states()[0].error, within_s=20)
            assert titles(other)[first] == "Anew"
        finally:
            runtime.stop()
            other.close()


def titles(store):
    return {
        name: stored.metadata.title
        for name, stored in store.catalog().modules.items()
        if stored.metadata
    }
