"""Every kind of source against a local HTTP server, a folder and a local git server."""

import json
import os
import ssl
from functools import partial
from ipaddress import ip_address

import pytest

from reconciler.catalog.files import FolderReader, GitReader
from reconciler.catalog.hosts import Hosts
from reconciler.catalog.http import Http
from reconciler.catalog.lists import ListReader, Pace
from reconciler.catalog.sources import FORMS
from specs.git import GitTree
from specs.repository import Repository
from specs.trees import SourceUnavailable
from tests.catalog_server import (
    CatalogServer,
    bomb,
    early,
    fails,
    hangs,
    is_no_http,
    name_of,
    says,
    sends_to,
    today,
    trickles,
)
from tests.git_server import GitServer, Origin

FILES = {"modules_yml": "/MODULES.yml", "gitmodules": "/.gitmodules"}


def reader_of(server, kind="modules_yml", **options):
    pace = Pace(**{"concurrency": 16, "file_s": 30.0} | options)
    http = partial(Http, Hosts([server.host]), ssl.create_default_context())
    return ListReader(
        server.origin + FILES[kind], FORMS[kind], http, templates=server.templates, pace=pace
    )


def known_of(read):
    return {module.name: module.version for module in read.modules if module.document}


def by_name(read):
    return {module.name: module for module in read.modules}


@pytest.fixture
def server():
    with CatalogServer() as server:
        yield server


def test_the_early_list_is_read_with_every_modules_metadata(server):
    read = reader_of(server).read({})
    assert [module.name for module in read.modules] == server.names
    assert [module.document for module in read.modules] == [early(name) for name in server.names]
    assert {(module.format, module.fault) for module in read.modules} == {("v1", "")}


def test_todays_list_is_read_on_the_branches_that_it_names(server):
    server.branches = {server.names[0]: "release/2", server.names[1]: "main"}
    server.branches[server.names[0]] = "dev"
    read = reader_of(server, "gitmodules").read({})
    assert [module.document["title"] for module in read.modules] == [
        f"Recognise {name}" for name in server.names
    ]
    assert {module.format for module in read.modules} == {"v2"}
    assert "/dev/" in read.modules[0].url
    assert "/master/" in read.modules[2].url


def test_what_did_not_change_is_asked_for_and_not_sent(server):
    reader = reader_of(server)
    known = known_of(reader.read({}))
    server.metadata[server.names[1]] = b'{"title": "Anew"}'
    server.seen.clear()
    read = reader.read(known)
    assert [(module.name, module.document) for module in read.modules] == [
        (server.names[1], {"title": "Anew"})
    ]
    assert set(read.same) == {server.names[0], server.names[2]}
    # The branch where a module was is known: no other one is tried.
    assert not [path for path in server.seen if "/main/" in path]


def test_a_server_without_tags_costs_the_download_and_changes_nothing(server):
    for name in server.names:
        server.faults[name] = says(json.dumps(early(name)).encode())
    reader = reader_of(server)
    read = reader.read(known_of(reader.read({})))
    assert (read.modules, set(read.same)) == ([], set(server.names))


def test_ten_bad_modules_among_500_cost_the_others_nothing():
    """C20: each is told with what is wrong with it, and 490 are there."""
    with CatalogServer(500) as server:
        bad = {
            3: (says(b"{not json"), "metadata.json is not JSON"),
            55: (says(b'["a list"]'), "must hold a mapping, not a list"),
            111: (says(b"x" * 3_000_000), "more than 1,000,000 bytes"),
            160: (fails(404), "there is no metadata.json on branch"),
            222: (sends_to("{path}"), "in a circle"),
            271: (sends_to("http://10.0.0.1/metadata.json"), "not among exchange.hosts"),
            333: (trickles, "took too long"),
            390: (bomb, "more than 1,000,000 bytes"),
            444: (is_no_http, "can't be asked"),
            499: (hangs, "took too long"),
        }
        server.faults = {name_of(number): fault for number, (fault, _) in bad.items()}
        read = reader_of(server, file_s=2.0).read({})
        found = by_name(read)
        assert list(found) == server.names
        good = [name for name in server.names if found[name].document is not None]
        assert len(good) == 490
        for number, (_, said) in bad.items():
            assert said in found[name_of(number)].fault
            assert "Traceback" not in found[name_of(number)].fault


def test_a_host_in_trouble_leaves_what_is_known_of_its_modules(server):
    reader = reader_of(server)
    known = known_of(reader.read({}))
    server.faults[server.names[0]] = fails(503)
    server.faults[server.names[1]] = fails(404)
    read = reader.read(known)
    assert server.names[0] in read.same
    assert "answers 503" in read.notes[0]
    assert "no metadata.json" in by_name(read)[server.names[1]].fault
    assert "answers 503" in by_name(reader.read({}))[server.names[0]].fault


def test_when_no_module_can_be_read_the_source_is_down(server):
    reader = reader_of(server)
    known = known_of(reader.read({}))
    server.faults = dict.fromkeys(server.names, fails(500))
    with pytest.raises(SourceUnavailable, match="none of the 3 modules"):
        reader.read(known)
    server.down = True
    with pytest.raises(SourceUnavailable, match="answers 503"):
        reader.read(known)


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff", b"[]", b"- 1\n" * 9])
def test_a_list_that_is_none_leaves_what_is_known(server, body):
    server.files["/MODULES.yml"] = body or says(b"")
    with pytest.raises(SourceUnavailable):
        reader_of(server).read({})


def test_what_a_list_names_twice_or_elsewhere_is_told(server):
    server.files["/MODULES.yml"] = (
        server.modules_yml()
        + b"- https://evil.example.org/team/stranger\n- 5\n"
        + f"- {server.origin}/other/{server.names[0]}\n".encode()
    )
    read = reader_of(server).read({})
    assert "two different repositories" in by_name(read)[server.names[0]].fault
    assert "exchange.raw" in by_name(read)["stranger"].fault
    assert read.notes == ["entry 5: it must be an address, or a mapping {module: ADDRESS}"]
    assert not [path for path in server.seen if "stranger" in path]


def test_the_time_for_all_is_kept(server):
    """A list of slow ones, none of which is too slow by itself, ends too."""
    server.faults[server.names[0]] = hangs
    read = reader_of(server, whole_s=0.5).read({})
    assert by_name(read)[server.names[0]].fault
    assert by_name(read)[server.names[1]].document


def test_a_look_up_of_a_name_that_takes_for_ever_holds_nobody_up(server):
    """The system's own look-up knows no deadline: its thread is left behind."""
    looked = iter([None])

    def resolve(host, port):
        if next(looked, "again") == "again":
            server.ended.wait()
        return [ip_address("127.0.0.1")]

    http = partial(Http, Hosts([server.host]), ssl.create_default_context(), resolve=resolve)
    reader = ListReader(
        server.origin + "/MODULES.yml",
        FORMS["modules_yml"],
        http,
        templates=server.templates,
        pace=Pace(whole_s=0.3),
    )
    read = reader.read(dict.fromkeys(server.names, "main x"))
    server.ended.set()
    assert {*read.same, *(module.name for module in read.modules)} >= set(server.names[1:])


def test_a_program_that_stops_does_not_wait_for_a_list(server):
    server.faults[server.names[0]] = hangs
    http = partial(Http, Hosts([server.host]), ssl.create_default_context())
    reader = ListReader(
        server.origin + "/MODULES.yml",
        FORMS["modules_yml"],
        http,
        templates=server.templates,
        pace=Pace(file_s=5),
        stopped=lambda: True,
    )
    with pytest.raises(SourceUnavailable, match="stopping"):
        reader.read({})


def test_a_folder_has_one_file_a_module_in_either_format(tmp_path):
    (tmp_path / "plants.json").write_text(json.dumps(early("plants")))
    (tmp_path / "noise.yaml").write_text(today("noise"))
    (tmp_path / "ships.yml").write_text("title: [")
    (tmp_path / "no module!.json").write_text("{}")
    (tmp_path / "README.md").write_text("# Modules")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "a.json").write_text("{}")
    reader = FolderReader(tmp_path)
    read = reader.read({})
    found = by_name(read)
    assert {name: module.format for name, module in found.items() if module.document} == {
        "plants": "v1",
        "noise": "v2",
    }
    assert "ships.yml: line 2" in found["ships"].fault
    assert read.notes == ["no module!.json: 'no module!' is no module name"]
    assert str(tmp_path.parent) not in repr(read)
    again = reader.read(known_of(read))
    assert set(again.same) == {"plants", "noise"}
    assert [module.name for module in again.modules] == ["ships"]


def test_c20_nothing_outside_the_folder_is_read(tmp_path):
    root = tmp_path / "modules"
    root.mkdir()
    (root / "good.json").write_text("{}")
    (root / "link.json").symlink_to("/etc/passwd")
    (root / "up.json").symlink_to("..")
    os.mkfifo(root / "fifo.json")
    (root / "twin.json").write_text("{}")
    (root / "twin.yaml").write_text("a: b")
    (root / "huge.json").write_text('"' + "x" * 100_000 + '"')
    found = by_name(FolderReader(root).read({}))
    assert found.pop("good").document == {}
    assert {name: module.document for name, module in found.items()} == dict.fromkeys(
        ["fifo", "huge", "link", "twin", "up"]
    )
    assert "symbolic link" in found["link"].fault
    assert "of one module" in found["twin"].fault


def test_a_folder_that_is_away_or_empty_leaves_what_is_known(tmp_path):
    with pytest.raises(SourceUnavailable, match="holds no <module>"):
        FolderReader(tmp_path).read({"a": "1"})
    with pytest.raises(SourceUnavailable, match="is not there"):
        FolderReader(tmp_path / "away").read({"a": "1"})


def test_a_git_repository_has_one_file_a_module_too(tmp_path):
    origin = Origin(tmp_path / "served" / "catalogue.git")
    origin.commit({"modules/plants.json": json.dumps(early("plants")), "modules/x/y.json": "{}"})
    with GitServer(tmp_path / "served") as git:
        url = git.url("catalogue.git")
        tree = GitTree(Repository(url, folder="modules"), tmp_path / "mirror")
        reader = GitReader(tree, url)
        first = reader.read({})
        assert [module.name for module in first.modules] == ["plants"]
        assert set(reader.read(known_of(first)).same) == {"plants"}
        # Somebody else's memory is newer or older than ours: content is told again.
        assert [module.document for module in reader.read({}).modules] == [early("plants")]
        origin.commit({"modules/noise.yaml": today("noise"), "modules/plants.json": None})
        second = reader.read(known_of(first))
        assert [(module.name, module.format) for module in second.modules] == [("noise", "v2")]
        assert second.same == set()
        git.status = 500
        with pytest.raises(SourceUnavailable):
            reader.read({})
