"""A source of spec files kept up with: from trees to the store, whatever is in them."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from specs import intake
from specs.files import Rules
from specs.model import Deployment
from specs.pruning import DeletionBudget
from specs.store import SpecStore
from specs.sync import Pass, Site, SpecSource, Sync
from specs.trees import File, SourceUnavailable, Tree
from specs.userconf import read_userconf
from tests.builders import ALICE, ALICE_REACH, NOW, SEAL, VO

FORM = yaml.safe_load((Path(__file__).parents[2] / "etc/userconf.yaml").read_text())
GIT = "git.example/specs@main"
RULES = Rules(vos=(VO,), issuer=ALICE.iss)


@dataclass
class Repository:
    """Files by path; a text is a fault of its own where it begins with `!`.

    `twins` have a fault that is not their content's.
    """

    files: dict[str, str] = field(default_factory=dict)
    commit: str = "c1"
    settled: bool = True
    gone: str = ""
    twins: dict[str, str] = field(default_factory=dict)
    read_anew: list[str] = field(default_factory=list)

    def read(self, known: Mapping[str, str]) -> Tree:
        if self.gone:
            raise SourceUnavailable(self.gone)
        files = [self._file(path, known) for path in sorted(self.files)]
        self.read_anew = [file.path for file in files if file.content is not None]
        return Tree(self.commit, files, settled=self.settled, again_s=None if self.settled else 2.0)

    def _file(self, path: str, known: Mapping[str, str]) -> File:
        text = self.files[path]
        blob = sha256(text.encode()).hexdigest()
        if text.startswith("!"):
            return File(path, blob, fault=text[1:])
        if path in self.twins:
            return File(path, blob, fault=self.twins[path])
        same = known.get(path) == blob
        origin = {"commit": self.commit, "author": "Ada"}
        return File(path, blob, None if same else text.encode(), origin=origin)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SpecStore]:
    store = SpecStore(f"sqlite:///{tmp_path}/store.db", now=lambda: NOW, seal=SEAL)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def repository() -> Repository:
    return Repository({f"deploy/n{n}.yaml": spec(f"n{n}") for n in range(10)})


@pytest.fixture
def sync(store: SpecStore, repository: Repository) -> Sync:
    return a_sync(store, repository)


def a_sync(
    store: SpecStore,
    repository: Repository,
    source: str = GIT,
    form: Mapping[str, Mapping[str, int]] | None = None,
    root: str = "",
) -> Sync:
    tree = deepcopy(FORM)
    for group, values in (form or {}).items():
        for key, value in values.items():
            tree[group][key]["value"] = value
    sync = Sync(
        SpecSource(source, "git", "https://git.example/specs", RULES, ref="main", root=root),
        repository,
        store,
        Site(read_userconf(tree), {}, DeletionBudget()),
        now=lambda: NOW,
    )
    sync.begin()
    return sync


def spec(name: str, **hardware: object) -> str:
    lines = [f"metadata: {{name: {name}, owner: {ALICE.sub}, vo: {VO}}}", "spec:", "  general: {}"]
    lines += ["  hardware:", *(f"    {key}: {value}" for key, value in hardware.items())]
    return "\n".join(lines if hardware else lines[:3]) + "\n"


def told(done: Pass) -> dict[str, list[str]]:
    words = ("created", "changed", "taken", "deleted", "held")
    found = {word: sorted(r.name for r in getattr(done.intake, word)) for word in words}
    return {word: names for word, names in found.items() if names}


def living(store: SpecStore) -> set[str]:
    return {r.name for r in store.page(ALICE_REACH).items if not r.being_deleted}


def named(store: SpecStore, name: str) -> Deployment:
    return store.find(ALICE_REACH, vo=VO, name=name)


ALL = {f"n{n}" for n in range(10)}


def test_what_is_merged_is_declared_and_says_where_it_comes_from(store, sync, repository) -> None:
    assert told(sync.run_once()) == {"created": sorted(ALL)}
    source = named(store, "n3").source
    assert {key: value for key, value in source.items() if key != "digest"} == {
        "type": "git",
        "id": GIT,
        "repo": "https://git.example/specs",
        "path": "deploy/n3.yaml",
        "line": "1",
        "commit": "c1",
        "author": "Ada",
    }
    created = store.events(named(store, "n3").uid)[0].event
    assert (created.source, created.actor) == ("git", GIT)
    assert "by deploy/n3.yaml:1 at commit c1 of Ada" in created.message
    report = store.source_reports()[GIT]
    assert (report.wanted, report.applied, report.files, report.faults) == ("c1", "c1", 10, ())


def test_a_commit_that_changes_nothing_writes_no_wish_and_reads_no_file(
    store, sync, repository
) -> None:
    sync.run_once()
    before = store.newest_version()
    repository.commit = "c2"
    done = sync.run_once()
    assert (told(done), done.wishes, repository.read_anew) == ({}, [], [])
    assert store.newest_version() == before
    assert store.source_reports()[GIT].applied == "c2"


def test_a_new_process_takes_nothing_that_it_had_taken(store, sync, repository) -> None:
    """Nor do new defaults of the site change what was declared under the old ones."""
    sync.run_once()
    before = store.newest_version()
    again = a_sync(store, repository, form={"hardware": {"ram": 5000}})
    done = again.run_once()
    assert (told(done), done.wishes, len(done.same)) == ({}, [], 10)
    assert store.newest_version() == before


def test_one_changed_file_costs_one_file(store, sync, repository) -> None:
    sync.run_once()
    repository.files["deploy/n4.yaml"] = spec("n4", ram=4000)
    repository.commit = "c2"
    done = sync.run_once()
    assert (told(done), repository.read_anew) == ({"changed": ["n4"]}, ["deploy/n4.yaml"])
    record = named(store, "n4")
    assert (record.spec.hardware.ram, record.source["commit"]) == (4000, "c2")


def test_a_removed_file_ends_what_it_declared(store, sync, repository) -> None:
    sync.run_once()
    uid = named(store, "n4").uid
    del repository.files["deploy/n4.yaml"]
    repository.commit = "c2"
    assert told(sync.run_once()) == {"deleted": ["n4"]}
    gone = store.events(uid)[-1].event
    assert gone.message.endswith(": deploy/n4.yaml:1 at commit c2 no longer declares it.")


def test_a_moved_file_is_no_deletion(store, sync, repository) -> None:
    sync.run_once()
    uids = {name: named(store, name).uid for name in ALL}
    for n in range(10):
        repository.files[f"team/{n}.yaml"] = repository.files.pop(f"deploy/n{n}.yaml")
    assert told(sync.run_once()) == {}
    assert {name: named(store, name).uid for name in ALL} == uids
    assert named(store, "n3").source["path"] == "team/3.yaml"


BREAKS: dict[str, Callable[[str], str]] = {
    "no YAML": lambda text: text + "  bad: [",
    "unknown key": lambda text: text + "  hardwear: {}\n",
    "bad value": lambda text: text + "  hardware: {ram: -1}\n",
    "no name": lambda text: text.replace("name: n4, ", ""),
    "another kind": lambda text: "kind: Deploymnt\n" + text,
    "can't be read": lambda text: "!a symbolic link: not followed",
    "an alias": lambda text: text + "  a: &x {}\n  b: *x\n",
}


@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_file_keeps_its_last_good_spec_and_says_so_on_the_object(
    store, sync, repository, kind
) -> None:
    """R15, and while what a file declares can't be told, nothing that is absent goes."""
    sync.run_once()
    good = repository.files["deploy/n4.yaml"]
    repository.files["deploy/n4.yaml"] = BREAKS[kind](good)
    done = sync.run_once()
    assert told(done) == {}
    assert living(store) == ALL
    record = named(store, "n4")
    assert record.source_fault.startswith("deploy/n4.yaml:")
    assert [fault.path for fault in done.faults] == ["deploy/n4.yaml"]
    assert store.source_reports()[GIT].faults[0].file == "deploy/n4.yaml"
    # It is so still in the next pass, and in the first one of a new process.
    for later in (sync, a_sync(store, repository)):
        assert [fault.path for fault in later.run_once().faults] == ["deploy/n4.yaml"]
        assert named(store, "n4").source_fault == record.source_fault
    repository.files["deploy/n4.yaml"] = good
    assert sync.run_once().settled
    assert named(store, "n4").source_fault == ""
    assert named(store, "n4").generation == 1


def test_a_fault_that_is_not_the_contents_own_ends_with_its_cause(store, sync, repository) -> None:
    sync.run_once()
    repository.twins["deploy/n4.yaml"] = "differs from N4.yaml only in case: rename one of them"
    assert [fault.path for fault in sync.run_once().faults] == ["deploy/n4.yaml"]
    repository.twins.clear()
    assert sync.run_once().settled
    assert named(store, "n4").source_fault == ""


def test_a_file_that_moves_and_breaks_at_once_deletes_nothing(store, sync, repository) -> None:
    sync.run_once()
    repository.files["deploy/new.yaml"] = repository.files.pop("deploy/n4.yaml") + "  bad: ["
    done = sync.run_once()
    assert living(store) == ALL
    assert done.waits == "deploy/new.yaml can't be read: what is missing may stand there"
    assert store.source_reports()[GIT].waits == done.waits


def test_while_something_is_being_written_nothing_is_deleted(store, sync, repository) -> None:
    """R15, C37."""
    sync.run_once()
    gone = repository.files.pop("deploy/n4.yaml")
    repository.settled = False
    done = sync.run_once()
    assert (told(done), done.again_s) == ({}, 2.0)
    repository.settled = True
    repository.files["deploy/n4.yaml"] = gone
    assert sync.run_once().settled
    assert living(store) == ALL


def test_an_emptied_repository_waits_for_a_yes(store, sync, repository) -> None:
    """R14."""
    sync.run_once()
    repository.files.clear()
    done = sync.run_once()
    assert told(done) == {"held": sorted(ALL)}
    assert not done.settled
    assert living(store) == ALL
    assert "lists nothing" in named(store, "n1").deletion_held


def test_a_third_of_the_files_gone_waits_for_a_yes(store, repository) -> None:
    """R14: more than 5 and more than 20 %."""
    repository.files |= {f"deploy/m{n}.yaml": spec(f"m{n}") for n in range(20)}
    sync = a_sync(store, repository)
    sync.run_once()
    for n in range(10):
        del repository.files[f"deploy/n{n}.yaml"]
    assert told(sync.run_once()) == {"held": sorted(ALL)}
    # A yes lets them go; put back, they would have stayed.
    assert store.confirm_deletions(GIT, actor="Olga") == 10


def test_a_repository_that_can_not_be_read_tells_so_and_changes_nothing(
    store, sync, repository
) -> None:
    sync.run_once()
    repository.gone = "can't read https://git.example/specs: no such branch 'main'"
    with pytest.raises(SourceUnavailable):
        sync.run_once()
    report = store.source_reports()[GIT]
    assert (report.error, report.behind_since, report.applied) == (repository.gone, NOW, "c1")
    assert living(store) == ALL
    repository.gone = ""
    sync.run_once()
    assert store.source_reports()[GIT].error == ""


def test_two_files_that_declare_the_same_are_both_a_conflict(store, sync, repository) -> None:
    """C38: the one that was there stays as it is; neither wins."""
    sync.run_once()
    repository.files["deploy/again.yaml"] = spec("n4", ram=4000)
    done = sync.run_once()
    assert [fault.path for fault in done.faults] == ["deploy/again.yaml", "deploy/n4.yaml"]
    assert "declared twice, in deploy/again.yaml, deploy/n4.yaml" in named(store, "n4").source_fault
    assert named(store, "n4").spec.hardware.ram != 4000
    del repository.files["deploy/n4.yaml"]
    assert told(sync.run_once()) == {"changed": ["n4"]}
    assert named(store, "n4").source_fault == ""


def test_a_name_that_stands_twice_in_one_file_is_a_fault(store, sync, repository) -> None:
    repository.files["deploy/n4.yaml"] += "---\n" + spec("n4", ram=4000)
    (fault,) = sync.run_once().faults
    assert str(fault).startswith("deploy/n4.yaml:5:")
    assert named(store, "n4").spec.hardware.ram != 4000


def test_what_people_took_over_is_told_at_the_source_until_it_is_settled(
    store, sync, repository
) -> None:
    sync.run_once()
    mine = named(store, "n4")
    store.request_deletion(mine.uid, actor="Alice", source={"type": "http"}, take_over=True)
    (fault,) = sync.run_once().faults
    assert (fault.path, fault.code) == ("deploy/n4.yaml", "AlreadyExists")
    del repository.files["deploy/n4.yaml"]
    assert sync.run_once().settled


def test_every_fault_of_a_document_is_told_with_its_place(store, sync, repository) -> None:
    repository.files["deploy/n4.yaml"] = spec("n4", ram=-1, cpu_num="many", disk=5)
    faults = [str(fault) for fault in sync.run_once().faults]
    assert [fault.partition(" ")[0] for fault in faults] == [
        "deploy/n4.yaml:5:5",
        "deploy/n4.yaml:6:5",
        "deploy/n4.yaml:7:5",
    ]


def test_a_fault_is_judged_once_and_told_as_long_as_it_is_there(store, sync, repository) -> None:
    sync.run_once()
    repository.files["deploy/n4.yaml"] = spec("n4", ram=-1)
    repository.files["deploy/new.yaml"] = spec("new", ram=-1)
    told_of = ["deploy/n4.yaml", "deploy/new.yaml"]
    assert [fault.path for fault in sync.run_once().faults] == told_of
    for _ in range(2):
        assert [fault.path for fault in sync.run_once().faults] == told_of
        assert repository.read_anew == []
        assert named(store, "n4").source_fault.startswith("deploy/n4.yaml:5:")
    repository.files["deploy/n4.yaml"] = spec("n4")
    assert [fault.path for fault in sync.run_once().faults] == ["deploy/new.yaml"]
    assert named(store, "n4").source_fault == ""


def test_paths_are_told_as_they_are_in_the_whole_repository(store, repository) -> None:
    sync = a_sync(store, repository, root="sites/one")
    repository.files["deploy/n4.yaml"] = spec("n4", ram=-1)
    repository.files["deploy/n5.yaml"] = "bad: ["
    repository.files["deploy/n6.yaml"] = spec("n7")
    done = sync.run_once()
    assert named(store, "n1").source["path"] == "sites/one/deploy/n1.yaml"
    assert [fault.path for fault in done.faults] == [
        f"sites/one/deploy/n{n}.yaml" for n in (4, 5, 6, 7)
    ]
    repository.files["deploy/n1.yaml"] = "bad: ["
    sync.run_once()
    assert named(store, "n1").source_fault.startswith("sites/one/deploy/n1.yaml:2:1: ")


def test_a_dry_run_tells_what_a_pass_would_do(store, sync, repository) -> None:
    sync.run_once()
    repository.files["deploy/n4.yaml"] = spec("n4", ram=4000)
    repository.files["deploy/new.yaml"] = spec("new")
    del repository.files["deploy/n5.yaml"]
    before = (store.newest_version(), store.source_reports())
    expected = {"created": ["new"], "changed": ["n4"], "deleted": ["n5"]}
    assert told(sync.run_once(dry_run=True)) == expected
    assert (store.newest_version(), store.source_reports()) == before
    assert told(sync.run_once()) == expected


def test_progress_counts_what_is_looked_at(store, sync) -> None:
    seen: list[tuple[int, int]] = []
    sync.run_once(progress=lambda *counts: seen.append(counts))
    assert seen == [(10, 10)]


def test_a_source_that_the_site_dropped_gives_way_to_one_that_says_the_same(
    store, sync, repository
) -> None:
    """The repository has a new address: nothing of it runs anew."""
    sync.run_once()
    store.forget_sources(but=["new"])
    assert told(a_sync(store, repository, "new").run_once()) == {"taken": sorted(ALL)}
    assert named(store, "n4").source["id"] == "new"


def test_a_source_that_the_site_has_gives_way_to_none(store, sync, repository) -> None:
    sync.run_once()
    done = a_sync(store, repository, "other").run_once()
    assert told(done) == {}
    assert len(done.faults) == 10


def test_a_pass_that_is_cut_off_is_made_up_for(store, sync, repository, monkeypatch) -> None:
    monkeypatch.setattr(intake, "CHUNK", 3)
    calls = 0
    put = store.put_from_source

    def cut_off(*args: object, **rest: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("killed")
        return put(*args, **rest)  # type: ignore[arg-type]

    store.put_from_source = cut_off  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        sync.run_once()
    assert len(living(store)) == 3
    sync.run_once()
    assert living(store) == ALL
