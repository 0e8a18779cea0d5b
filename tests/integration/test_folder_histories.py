"""Any history of writers and reads: nothing half is told, nothing that is there is told gone (C37).

The model is what truly happened; it knows nothing of how the reader decides.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from specs.folder import GRACE_S, SETTLE_S
from tests.folders import Clock, Reader

PATHS = st.sampled_from(["a.yaml", "b.yaml", "sub/a.yaml", "sub/c.json"])
TEXTS = st.sampled_from(["", "1", "one", "two", "three: 3", "three: 3\n---\nfour: 4"])
STEPS = st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 1.9, 2.0, 7.0])
EPSILON = 1e-6


@dataclass
class Model:
    """The files as they are, when each was last written, and who was there at which read."""

    files: dict[str, str] = field(default_factory=dict)
    written_s: dict[str, float] = field(default_factory=dict)
    reads: list[tuple[float, frozenset[str]]] = field(default_factory=list)

    def gone_long_enough(self, path: str, now: float) -> bool:
        """Whether reads over the whole grace did not find the path."""
        for at, paths in reversed(self.reads):
            if path in paths:
                return False
            if now - at >= GRACE_S - EPSILON:
                return True
        return False


class WritersAndReader(RuleBasedStateMachine):
    """Writers of every manner, a clock, and a reader that may be started anew."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.clock = Clock()
        self.model = Model()
        self.ever: set[str] = set()
        self.start()

    def start(self) -> None:
        self.reader = Reader(self.root, self.clock)
        self.model.reads.clear()

    @rule(path=PATHS, text=TEXTS)
    def write_in_place(self, path: str, text: str) -> None:
        self.reader.put(path, text)
        self._wrote(path, text)

    @rule(path=PATHS, text=TEXTS, age_s=st.sampled_from([0.0, 0.2, 60.0]))
    def write_aside_and_rename(self, path: str, text: str, age_s: float) -> None:
        self.reader.put(".aside.tmp", text, age_s=age_s)
        (self.root / path).parent.mkdir(exist_ok=True)
        (self.root / ".aside.tmp").rename(self.root / path)
        self._wrote(path, text, age_s)

    @rule(path=PATHS)
    def unlink(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)
        self.model.files.pop(path, None)

    @rule(path=PATHS, to=PATHS)
    def move(self, path: str, to: str) -> None:
        if path in self.model.files and path != to:
            (self.root / to).parent.mkdir(exist_ok=True)
            (self.root / path).rename(self.root / to)
            self._wrote(to, self.model.files.pop(path))
            self.model.written_s[to] = self.model.written_s[path]

    @rule()
    def move_the_folder_away_or_back(self) -> None:
        here, away = self.root / "sub", self.root / ".away"
        if here.exists() and not away.exists():
            here.rename(away)
            self.away = {path: text for path, text in self.model.files.items() if "/" in path}
            self.model.files = {p: text for p, text in self.model.files.items() if "/" not in p}
        elif away.exists() and not here.exists():
            away.rename(here)
            self.model.files |= self.away

    @rule(by_s=STEPS)
    def pass_time(self, by_s: float) -> None:
        self.clock.step(by_s)

    @rule()
    def restart(self) -> None:
        self.start()

    @rule()
    def read(self) -> None:
        tree = self.reader.read()
        now = self.clock.s
        self.model.reads.append((now, frozenset(self.model.files)))
        for file in tree.files:
            if file.content is not None:
                assert file.content.decode() == self.model.files[file.path]
                assert now - self.model.written_s[file.path] >= SETTLE_S - EPSILON
        told = self.reader.told_by(tree)
        if tree.settled:
            assert {path: text.decode() for path, text in told.items()} == self.model.files
            for path in self.ever - set(told):
                assert self.model.gone_long_enough(path, now), path
        else:
            assert tree.again_s is not None
            assert tree.again_s > 0
            assert tree.doubt

    def teardown(self) -> None:
        """Once nobody writes, a few reads at the times that were asked for come to rest."""
        for _ in range(5):
            tree = self.reader.read()
            if tree.settled:
                break
            self.clock.step(tree.again_s)
        told = self.reader.told_by(tree)
        self.folder.cleanup()
        assert tree.settled
        assert {path: text.decode() for path, text in told.items()} == self.model.files

    def _wrote(self, path: str, text: str, age_s: float = 0) -> None:
        self.ever.add(path)
        self.model.files[path] = text
        self.model.written_s[path] = self.clock.s - age_s


TestWritersAndReader = WritersAndReader.TestCase
TestWritersAndReader.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
