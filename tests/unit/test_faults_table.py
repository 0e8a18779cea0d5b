"""`docs/faults.md` names a test for every fault, and each named test says so itself."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| (R\d+) \|.*\| (`.*`) \|$", (ROOT / "docs/faults.md").read_text(), re.M)
ROW = re.compile(r"\bR\d{1,2}\b")


def named(path: Path) -> set[str]:
    """The rows that a file of tests names, in docstrings or in names of tests."""
    text = path.read_text()
    return {*ROW.findall(text), *(f"R{n}" for n in re.findall(r"def test_r(\d{1,2})_", text))}


@pytest.mark.parametrize(("row", "files"), ROWS, ids=[row for row, _ in ROWS])
def test_every_fault_has_tests_that_name_it(row, files):
    for file in re.findall(r"`([^`]+)`", files):
        assert row in named(ROOT / file), f"{file} does not say which test stands for {row}"


def test_every_fault_that_a_test_names_is_in_the_table():
    rows = {row for row, _ in ROWS}
    files = [p for p in (ROOT / "tests").rglob("test_*.py") if p.name != Path(__file__).name]
    assert set().union(*map(named, files)) <= rows
