"""Sources of spec files in threads of their own: when they are read, and who is told."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.passes import Asked
from reconciler.settings import load_settings
from reconciler.spec_files import (
    PassCommand,
    SpecFiles,
    rules_of,
    sentence_of,
    spec_files_of,
    state_of,
)
from specs.model import Owner
from specs.source_reports import FaultReport, SourceReport
from specs.store import SpecStore
from specs.trees import SourceUnavailable
from tests.builders import SEAL
from tests.integration.test_sync import ALL, Repository, a_sync, living, spec
from tests.real import wait_until

WAIT_S = 10


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SpecStore]:
    store = SpecStore(f"sqlite:///{tmp_path}/store.db", seal=SEAL)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def repository() -> Repository:
    return Repository({f"deploy/n{n}.yaml": spec(f"n{n}") for n in range(10)})


class Turns:
    """A reader that counts its reads, and does whatever it is told to before each."""

    def __init__(self, repository: Repository, before: Callable[[int], None] = lambda _: None):
        self.repository, self.before, self.turn = repository, before, 0
        self.changed = threading.Condition()

    def read(self, known):
        with self.changed:
            self.turn += 1
            self.changed.notify_all()
        self.before(self.turn)
        return self.repository.read(known)

    def reached(self, turn: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.turn >= turn, WAIT_S)


@pytest.fixture
def running() -> Iterator[Callable[[SpecFiles], None]]:
    stop, threads = threading.Event(), []

    def start(*sources) -> None:
        for source in sources:
            threads.append(threading.Thread(target=source.run, args=(stop,)))
            threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def files(store, reader, name="one", **rest) -> SpecFiles:
    return SpecFiles(lambda _: a_sync(store, reader, name), poll_s=3600, random=lambda: 0.0, **rest)


def test_a_source_is_read_at_once_and_again_when_it_is_woken(store, repository, running) -> None:
    turns = Turns(repository)
    source = files(store, turns)
    running(source)
    assert turns.reached(1)
    wait_until(lambda: living(store) == ALL, within_s=WAIT_S)
    repository.files["deploy/new.yaml"] = spec("new")
    source.wake()
    wait_until(lambda: "new" in living(store), within_s=WAIT_S)


def test_a_source_that_hangs_delays_no_other(store, repository, running) -> None:
    hangs = threading.Event()
    slow = Turns(Repository(), lambda _: hangs.wait(WAIT_S) and None)
    running(files(store, slow, "slow"), files(store, Turns(repository), "quick"))
    assert slow.reached(1)
    wait_until(lambda: living(store) == ALL, within_s=WAIT_S)
    hangs.set()


@pytest.mark.parametrize("error", [SourceUnavailable("gone"), RuntimeError("a bug of ours")])
def test_a_source_that_fails_is_read_again_by_itself(store, repository, running, error) -> None:
    def fail_twice(turn: int) -> None:
        if turn <= 2:
            raise error

    turns = Turns(repository, fail_twice)
    running(files(store, turns))
    assert turns.reached(3)
    wait_until(lambda: living(store) == ALL, within_s=WAIT_S)


def test_whoever_asks_in_whichever_process_has_the_source_read(store, repository, running) -> None:
    turns = Turns(repository)
    source = files(store, turns)
    running(source, Asked(store.source_asks, {"one": source.wake}, rung=store.source_asked))
    assert turns.reached(1)
    wait_until(lambda: living(store) == ALL, within_s=WAIT_S)
    other = SpecStore(store._database._url.render_as_string(hide_password=False), seal=SEAL)
    assert other.ask_source("one")
    other.close()
    assert turns.reached(2)


def test_how_a_source_stands_is_told_after_every_pass(store, repository, running) -> None:
    told: list[str] = []
    source = files(store, Turns(repository), tell=lambda report: told.append(state_of(report)))
    running(source)
    wait_until(lambda: told == ["success"], within_s=WAIT_S)
    repository.files["deploy/n4.yaml"] = "bad: ["
    source.wake()
    wait_until(lambda: told == ["success", "failure"], within_s=WAIT_S)


REPORT = SourceReport(kind="git", url="https://h/a.git", wanted="c1", applied="c1", files=3)
FAULT = FaultReport(file="a.yaml", line=3, column=5, message="$(id) `id` bad")


@pytest.mark.parametrize(
    ("report", "state", "sentence"),
    [
        (REPORT, "success", "3 files are as declared"),
        (REPORT.model_copy(update={"error": "gone"}), "error", "gone"),
        (REPORT.model_copy(update={"waits": "a.yaml"}), "failure", "a.yaml"),
        (
            REPORT.model_copy(update={"faults": (FAULT, FAULT), "more_faults": 2}),
            "failure",
            "a.yaml:3: $(id) `id` bad (and 3 more)",
        ),
    ],
)
def test_a_source_stands_as_a_commit_status_says(report, state, sentence) -> None:
    assert (state_of(report), sentence_of(report)) == (state, sentence)


def test_the_operators_command_is_told_each_change_once_and_no_secret(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("NOMAD_TOKEN", "a-secret-of-the-server")
    script = (
        "import json, os, sys; print(json.dumps(dict(os.environ)), file=open(sys.argv[1], 'a'))"
    )
    command = PassCommand([sys.executable, "-c", script, str(tmp_path / "told")], "team")
    broken = REPORT.model_copy(update={"faults": (FAULT,)})
    for report in (REPORT, REPORT, broken, broken, REPORT):
        command(report)
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert [one["AI4PAPI_STATE"] for one in told] == ["success", "failure", "success"]
    assert told[1]["AI4PAPI_DESCRIPTION"] == "a.yaml:3: $(id) `id` bad"
    assert (told[0]["AI4PAPI_SOURCE"], told[0]["AI4PAPI_COMMIT"]) == ("team", "c1")
    assert "a-secret-of-the-server" not in json.dumps(told)


@pytest.mark.parametrize("command", [["/no/such/program"], [sys.executable, "-c", "exit(3)"]])
def test_a_command_that_fails_is_a_line_in_the_log(command, caplog) -> None:
    PassCommand(command, "team")(REPORT)
    assert "specs.on_pass failed" in caplog.text


def settings(tmp_path, text="", **environ):
    conf = "auth: {OP: [https://op], VO: [vo.a, vo.b]}\nnomad: {namespaces: {vo.a: a, vo.b: b}}\n"
    etc = Path(__file__).parents[2] / "etc"
    (tmp_path / "etc").mkdir()
    for name in ("userconf.yaml", "job.nomad"):
        (tmp_path / "etc" / name).write_text((etc / name).read_text())
    (tmp_path / "etc" / "main_conf.yaml").write_text(conf + text)
    return load_settings(
        {"AI4PAPI_STORE_URL": f"sqlite:///{tmp_path}/s.db", **environ}, tmp_path / "etc"
    )


def test_whose_documents_are_follows_from_the_settings(tmp_path) -> None:
    found = settings(tmp_path, "specs: {sources: [{url: /srv/a}, {url: /srv/b, vos: [vo.b]}]}\n")
    first, second = (rules_of(source, found) for source in found.specs.sources)
    assert (first.vos, first.issuer, first.default_owner) == (("vo.a", "vo.b"), "https://op", None)
    assert second.vos == ("vo.b",)


def test_in_local_mode_they_are_the_one_users(tmp_path) -> None:
    found = settings(tmp_path, AI4PAPI_AUTH="local", AI4PAPI_SPECS="/srv/a")
    rules = rules_of(found.specs.sources[0], found)
    assert (rules.vos, rules.issuer) == (("vo.a",), "local")
    assert rules.default_owner == Owner("local", "local")


def test_every_git_source_has_a_mirror_of_its_own_beside_the_store(tmp_path, store) -> None:
    text = "specs: {sources: [{url: 'https://h/a.git'}, {url: 'https://h/b.git'}, {url: /srv/c}]}\n"
    found = spec_files_of(settings(tmp_path, text), store, lambda: 0.0)
    mirrors = [one.sync._reader._mirror.path for one in found[:2]]
    assert [mirror.parent for mirror in mirrors] == [tmp_path / "git"] * 2
    assert mirrors[0] != mirrors[1]
