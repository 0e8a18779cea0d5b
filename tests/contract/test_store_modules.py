"""The catalogue of modules, on every database that the store works on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from specs.catalog.metadata import Minimum
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.catalog.rows import VERSIONS_KEPT
from specs.catalog.shelf import Stored
from specs.catalog.states import CatalogState
from specs.faults import InvalidSpec, NotFound, VersionConflict
from specs.store import SpecStore
from tests.builders import NOW, SEAL, VO
from tests.contract.stores import Clock, a_wish, create, driver, in_threads, put, request_deletion


def a_read(name: str = "grass", *, version: str = "v1", **document: Any) -> ModuleRead:
    return ModuleRead(name, "v1", version=version, document={"title": name, **document})


def faulty(name: str = "grass", fault: str = "the server answered 404") -> ModuleRead:
    return ModuleRead(name, "v1", fault=fault)


def shelve(store: SpecStore, *reads: ModuleRead, source: str = "a", rank: int = 0, **more: Any):
    store.put_catalog(source, CatalogRead(reads, **more), rank=rank)


def the(store: SpecStore, name: str = "grass") -> Stored:
    return store.catalog().modules[name]


def edit(store: SpecStore, name: str = "grass", **fields: Any) -> Stored:
    return store.put_overlay(name, fields, author="Alice", vo=VO)


@contextmanager
def another(url: str, clock: Clock) -> Iterator[SpecStore]:
    """Another process's hands on the same database."""
    store = SpecStore(url, seal=SEAL, now=clock)
    yield store
    store.close()


def test_a_store_without_sources_has_no_modules(store):
    assert store.catalog().modules == {}
    assert store.catalog().version == 0
    assert store.catalog_states() == []
    assert store.catalog_known("a") == {}


def test_what_a_source_lists_is_shown_by_name(store, url, clock):
    read = ModuleRead("grass", "v1", "v7", {"title": "Grass", "doi": "x"}, url="https://git/grass")
    shelve(store, read, a_read("Algae"))
    assert list(store.catalog().modules) == sorted(["grass", "Algae"])
    stored = the(store)
    assert (stored.metadata.title, stored.metadata.extra) == ("Grass", {"doi": "x"})
    assert (stored.fault, stored.source, stored.read_at) == ("", "a", NOW)
    assert (stored.overlay_version, stored.url) == (0, "https://git/grass")
    assert store.catalog_known("a") == {"grass": "v7", "Algae": "v1"}
    with another(url, clock) as other:
        assert other.catalog() == store.catalog()


def test_modules_that_are_as_they_were_stay_and_others_go(store):
    shelve(store, a_read("grass"), a_read("algae"), a_read("kelp"))
    shelve(store, a_read("kelp", title="Kelp"), same=["grass"])
    assert {name: one.metadata.title for name, one in store.catalog().modules.items()} == {
        "grass": "grass",
        "kelp": "Kelp",
    }


def test_only_a_change_moves_the_version_and_every_read_the_age(store, clock):
    shelve(store, a_read(), a_read("kelp"))
    before = store.catalog()
    clock.advance(hours=6)
    shelve(store, a_read(), same=["kelp"])
    after = store.catalog()
    assert after.version == before.version
    assert [one.version for one in after.modules.values()] == [
        one.version for one in before.modules.values()
    ]
    assert {one.read_at for one in after.modules.values()} == {NOW + timedelta(hours=6)}
    shelve(store, a_read(title="other"), same=["kelp"])
    moved = store.catalog()
    assert moved.version > after.version
    assert moved.modules["kelp"].version == after.modules["kelp"].version
    assert moved.modules["grass"].version != after.modules["grass"].version


def test_a_malformed_module_is_listed_with_its_fault_and_asked_for_again(store):
    shelve(store, a_read("kelp"), faulty(), a_read("algae", title=3))
    assert (the(store).metadata, the(store).fault) == (None, "the server answered 404")
    assert the(store, "algae").fault == "title: must be a text, not 3"
    assert the(store, "kelp").fault == ""
    assert store.catalog_known("a") == {"kelp": "v1"}
    assert store.catalog().defaults("grass") == {("general", "docker_image"): "deephdc/grass"}


def test_the_last_good_document_outlives_a_fault(store):
    shelve(store, a_read(summary="good"))
    for bad in (faulty(), a_read(title=3)):
        shelve(store, bad)
        assert the(store).metadata.summary == "good"
        assert the(store).fault
    shelve(store, a_read(summary="better"))
    assert (the(store).metadata.summary, the(store).fault) == ("better", "")


def test_hostile_texts_are_kept_and_shown_as_far_as_people_can_read_them(store):
    nul = ModuleRead("grass", "v1", "v\0\ud800", {"title": "a\0\ud800b"}, url="https://\0")
    shelve(store, nul, faulty("kelp", "bad\0\ud800\n" * 9999), a_read("../x"), a_read("a${b}"))
    assert set(store.catalog().modules) == {"grass", "kelp"}
    assert the(store).metadata.title == "ab"
    assert the(store, "kelp").fault.isprintable()
    assert store.catalog_known("a")["grass"].isprintable()


def test_the_lowest_rank_wins_a_name_wherever_it_was_read_first(store):
    shelve(store, a_read(title="second"), a_read("kelp"), source="b", rank=1)
    shelve(store, a_read(title="first"), source="a", rank=0)
    assert (the(store).metadata.title, the(store).source) == ("first", "a")
    shelve(store, source="a", rank=2, same=["grass"])
    assert the(store).metadata.title == "second"
    store.forget_catalogs(["a"])
    assert list(store.catalog().modules) == ["grass"]
    assert the(store).metadata.title == "first"
    store.forget_catalogs([])
    assert store.catalog().modules == {}


def test_states_are_told_in_the_order_of_the_sources(store):
    shelve(store, source="b", rank=0)
    shelve(store, source="a", rank=1)
    states = [CatalogState(source=name, kind="folder", error="x", modules=3) for name in "ab"]
    for state in states:
        store.put_catalog_state(state.source, state)
    down = states[0].model_copy(update={"error": "down", "read_at": NOW, "expires_at": NOW})
    store.put_catalog_state("a", down)
    assert store.catalog_states() == [states[1], down]
    store.forget_catalogs(["a"])
    assert store.catalog_states() == [down]


def test_asking_for_a_read_is_counted_for_every_process(store, url, clock):
    assert store.catalog_asks() == 0
    with another(url, clock) as other:
        other.ask_catalogs()
        other.ask_catalogs()
    assert store.catalog_asks() == 2
    assert store.catalog().version == 0


def test_an_overlay_is_shown_at_once_and_keeps_to_its_fields(store):
    shelve(store, a_read(summary="one", tosca=[1]))
    stored = edit(store, title="Sea grass", resources={"ram": 4000})
    assert stored == the(store)
    assert (stored.metadata.title, stored.metadata.summary) == ("Sea grass", "one")
    assert (stored.metadata.resources, stored.metadata.extra) == (Minimum(ram=4000), {"tosca": [1]})
    assert stored.overlay_version == 1
    shelve(store, a_read(title="source", summary="two"))
    assert (the(store).metadata.title, the(store).metadata.summary) == ("Sea grass", "two")


def test_every_version_has_its_author_and_time_and_deleting_restores_the_sources(store, clock):
    shelve(store, a_read())
    before = the(store)
    edit(store, title="one")
    clock.advance(minutes=1)
    store.put_overlay("grass", {"title": "two"}, author="Bob", vo="vo.x", if_version=1)
    back = store.delete_overlay("grass", author="Alice", vo=VO, if_version=2)
    assert back == the(store) == before
    assert edit(store, title="three").overlay_version == 4
    told = store.overlay_versions("grass")
    assert [(v.version, v.author, v.vo, v.fields) for v in told] == [
        (4, "Alice", VO, {"title": "three"}),
        (3, "Alice", VO, None),
        (2, "Bob", "vo.x", {"title": "two"}),
        (1, "Alice", VO, {"title": "one"}),
    ]
    assert [v.at for v in told] == [NOW + timedelta(minutes=m) for m in (1, 1, 1, 0)]


def test_an_overlay_that_says_nothing_new_makes_no_version(store):
    shelve(store, a_read())
    assert edit(store).overlay_version == 0
    version = store.catalog().version
    assert edit(store, title="grass").overlay_version == 0
    assert edit(store, title="one").overlay_version == 1
    assert edit(store, title="one").overlay_version == 1
    assert store.catalog().version == version + 1
    assert store.delete_overlay("grass", author="Alice").overlay_version == 0
    assert store.delete_overlay("grass", author="Alice").overlay_version == 0
    assert len(store.overlay_versions("grass")) == 2


def test_the_slower_editor_is_told(store):
    shelve(store, a_read())
    with pytest.raises(VersionConflict, match="at version 1, and it is at 0"):
        store.put_overlay("grass", {"title": "x"}, author="B", vo=VO, if_version=1)
    edit(store, title="one")
    for stale in (0, 2):
        with pytest.raises(VersionConflict, match=f"at version {stale}, and it is at 1"):
            store.put_overlay("grass", {"title": "x"}, author="B", vo=VO, if_version=stale)
        with pytest.raises(VersionConflict):
            store.delete_overlay("grass", author="B", if_version=stale)
    assert the(store).metadata.title == "one"


def test_of_editors_at_once_one_wins(store):
    shelve(store, a_read())

    def set_title(number: int) -> Stored:
        fields = {"title": f"n{number}"}
        return store.put_overlay("grass", fields, author=f"e{number}", vo=VO, if_version=0)

    answers = in_threads(6, set_title)
    won = [answer for answer in answers if isinstance(answer, Stored)]
    assert len(won) == 1
    assert sum(isinstance(answer, VersionConflict) for answer in answers) == 5
    assert the(store) == won[0]


def test_a_wrong_overlay_is_refused_with_pointers_and_changes_nothing(store):
    shelve(store, a_read())
    version = store.catalog().version
    with pytest.raises(InvalidSpec) as refusal:
        edit(store, title=3, links={"a": "javascript:x"}, foo=1)
    assert {told.pointer for told in refusal.value.faults} == {"/title", "/links/a", "/foo"}
    assert store.catalog().version == version
    assert store.overlay_versions("grass") == []


def test_nothing_is_set_of_a_module_that_nobody_lists(store):
    for call in (edit, lambda s: s.delete_overlay("grass", author="A")):
        with pytest.raises(NotFound, match="no module 'grass'"):
            call(store)


def test_an_overlay_waits_for_its_module_to_come_back(store):
    shelve(store, a_read())
    edit(store, title="mine")
    shelve(store, a_read("kelp"))
    assert "grass" not in store.catalog().modules
    store.forget_catalogs([])
    shelve(store, a_read(), source="b")
    assert (the(store).metadata.title, the(store).overlay_version) == ("mine", 1)


def test_an_editor_can_describe_a_module_whose_document_is_of_no_use(store):
    shelve(store, faulty())
    stored = edit(store, summary="Counts grass", docker_image="a/b:cpu")
    assert (stored.metadata.title, stored.metadata.summary) == ("grass", "Counts grass")
    assert stored.fault == "the server answered 404"
    assert store.catalog().defaults("grass") == {("general", "docker_image"): "a/b"}


def test_only_the_newest_versions_are_kept(store):
    shelve(store, a_read())
    for number in range(VERSIONS_KEPT + 5):
        edit(store, title=f"n{number}")
    told = store.overlay_versions("grass")
    assert len(told) == VERSIONS_KEPT
    assert told[0].version == the(store).overlay_version == VERSIONS_KEPT + 5


def test_another_processs_changes_are_seen_within_a_second(store, url, clock):
    shelve(store, a_read())
    assert the(store).metadata.title == "grass"
    with another(url, clock) as other:
        edit(other, title="theirs")
    clock.advance(seconds=0.9)
    assert the(store).metadata.title == "grass"
    clock.advance(seconds=0.1)
    assert the(store).metadata.title == "theirs"
    clock.advance(seconds=-100)
    with another(url, clock) as other:
        edit(other, title="again")
    assert the(store).metadata.title == "again"


def test_a_warm_read_asks_for_one_row_a_second(store, clock, monkeypatch):
    shelve(store, a_read())
    store.catalog()
    asked = []
    real = store._database.read
    monkeypatch.setattr(store._database, "read", lambda: asked.append(clock.now) or real())
    for _ in range(5):
        for _ in range(100):
            store.catalog()
        clock.advance(seconds=1)
    assert len(asked) == 4


def test_a_record_keeps_what_its_module_set(store):
    set_by_module = {("general", "docker_image"): "a/b", ("hardware", "ram"): 4000}
    wish = replace(a_wish(), module_defaults=set_by_module)
    record = create(store, wish)
    assert store.get(record.uid) == record
    assert record.module_defaults == set_by_module
    changed, _ = put(store, a_wish(title="without"))
    assert changed.module_defaults == {}
    put(store, wish)
    request_deletion(store, record.uid)
    assert store.get(record.uid).module_defaults == set_by_module


def test_records_of_before_are_migrated_with_nothing_set(store, url):
    record = create(store)
    engine = create_engine(make_url(url).set(drivername=driver(url)))
    with engine.begin() as connection:
        for table in ("counter", "sources", "modules", "overlays"):
            connection.execute(text(f"DROP TABLE catalog_{table}"))
        connection.execute(text("ALTER TABLE deployments DROP COLUMN module_defaults"))
        connection.execute(text("ALTER TABLE counter DROP COLUMN forgotten"))
        connection.execute(text("ALTER TABLE counter DROP COLUMN oldest_reader"))
        for table in ("log_tails", "outbox", "contacts", "leases", "replicas"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    engine.dispose()
    store.migrate()
    assert store.get(record.uid) == record
    shelve(store, a_read())
    assert list(store.catalog().modules) == ["grass"]
