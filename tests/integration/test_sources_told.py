"""Who has a source read, and what is told of it."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler import passes
from reconciler.passes import Asked
from reconciler.spec_files import SpecFiles
from specs.intake import Intake
from specs.source_reports import SourceReport
from specs.store import SpecStore
from specs.sync import Pass
from tests.builders import NOW

REPORT = SourceReport(kind="git", url="https://git.example/specs")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SpecStore]:
    store = SpecStore(f"sqlite:///{tmp_path}/store.db", now=lambda: NOW)
    store.migrate()
    store.put_source_report("team", REPORT)
    yield store
    store.close()


def reading(run_once: Callable[[], Pass]) -> SpecFiles:
    sync: Any = SimpleNamespace(source=SimpleNamespace(id="team"), run_once=run_once, report=REPORT)
    return SpecFiles(lambda _: sync, poll_s=60, random=lambda: 0.0)


def test_a_source_that_this_process_asks_for_is_woken_at_once(store, monkeypatch) -> None:
    """A webhook that reaches the process which reads the source waits for no poll of the store."""
    monkeypatch.setattr(passes, "ASKS_S", 3600)
    stop, heard = threading.Event(), threading.Semaphore(0)

    def wake() -> None:
        heard.release()

    asked = Asked(store.source_asks, {"team": wake}, rung=store.source_asked)
    thread = threading.Thread(target=asked.run, args=(stop,))
    thread.start()
    try:
        # Whatever was asked before it began to listen is read by the source's first pass.
        for _ in range(200):
            assert store.ask_source("team")
            if heard.acquire(timeout=0.05):
                break
        assert store.ask_source("team")
        assert heard.acquire(timeout=20)
    finally:
        stop.set()
        store.source_asked.set()
        thread.join(timeout=20)
    assert not thread.is_alive()


def test_a_version_with_faults_is_logged_once(caplog) -> None:
    """Nobody reads the log for the same fault every minute."""
    fault: Any = SimpleNamespace(path="a.yaml")
    versions = iter(["c1", "c1", "c2"])

    def run_once() -> Pass:
        return Pass(next(versions), Intake(), [], [], [fault], "", None)

    source = reading(run_once)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            source._pass()
    assert [record.version for record in caplog.records] == ["c1", "c2"]  # type: ignore[attr-defined]
