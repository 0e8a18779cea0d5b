"""`make simulate-histories`: many histories on all cores, told in one table.

Exit 0 where no oracle was violated, 1 where one was; every failing seed comes with the command that
plays it again.
"""

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from tests.simulation.history import Outcome, play
from tests.simulation.mutations import MUTATIONS

SHOWN_MAX: Final = 20
PROGRESS_S: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the histories and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="play with this bug put in")
    parser.add_argument("--trace", action="store_true", help="print what happened in each")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    began_s = time.monotonic()
    seeds = range(options.seed, options.seed + options.histories)
    told = Report(len(seeds), options.mutation)
    for outcome in _played(seeds, options.mutation, tracing=options.trace):
        told.take(outcome)
        if options.mutation and told.failed:
            break
    told.print(time.monotonic() - began_s)
    return 1 if told.failed else 0


class Report:
    """What came of the histories so far."""

    def __init__(self, histories: int, mutation: str | None) -> None:
        self._histories, self._mutation = histories, mutation
        self._played, self._steps = 0, 0
        self._faults: Counter[str] = Counter()
        self._deeds: Counter[str] = Counter()
        self._told_at_s = 0.0
        self.failed: list[Outcome] = []

    def take(self, outcome: Outcome) -> None:
        """Count one history, and say now and then how far it got."""
        self._played += 1
        self._steps += outcome.steps
        self._faults += outcome.faults
        self._deeds += outcome.deeds
        if outcome.trace:
            print("\n".join(outcome.trace))
        if outcome.violations:
            self.failed.append(outcome)
        now_s = time.monotonic()
        if now_s - self._told_at_s > PROGRESS_S and sys.stderr.isatty():
            self._told_at_s = now_s
            line = f"{self._played} of {self._histories} histories, {len(self.failed)} violated"
            print(f"\r{line}", end="", file=sys.stderr, flush=True)

    def print(self, seconds: float) -> None:
        """Print the table."""
        print(f"\n{'histories':<44}{self._played:>10}\n{'steps':<44}{self._steps:>10}")
        for title, counts in (("deeds", self._deeds), ("faults", self._faults)):
            print(f"{title}, in all{'':<{36 - len(title)}}{counts.total():>10}")
            for kind, count in sorted(counts.items()):
                print(f"  {kind:<42}{count:>10}")
        print(f"{'violated histories':<44}{len(self.failed):>10}\n{'seconds':<44}{seconds:>10.1f}")
        for outcome in self.failed[:SHOWN_MAX]:
            print(f"\nseed {outcome.seed}:")
            for oracle, sentence in outcome.violations:
                print(f"  {oracle}: {sentence}")
            print(f"  again: {self._again(outcome.seed)}")
        if self._mutation and self.failed:
            print(f"\n{self._mutation} was caught in history {self._played}")

    def _again(self, seed: int) -> str:
        mutation = f" MUTATION={self._mutation}" if self._mutation else ""
        return f"make simulate-histories SEED={seed} HISTORIES=1 TRACE=1{mutation}"


def _played(seeds: Sequence[int], mutation: str | None, *, tracing: bool) -> Iterator[Outcome]:
    if len(seeds) == 1 or tracing:
        with _mutated(mutation):
            for seed in seeds:
                yield play(seed, tracing=tracing)
        return
    workers = len(os.sched_getaffinity(0))
    with multiprocessing.Pool(workers, initializer=_set_up, initargs=(mutation,)) as pool:
        yield from pool.imap(play, seeds, chunksize=4)


def _set_up(mutation: str | None) -> None:
    logging.disable(logging.CRITICAL)
    _mutated(mutation).__enter__()


def _mutated(mutation: str | None) -> AbstractContextManager[Any]:
    return MUTATIONS[mutation][0]() if mutation else nullcontext()


if __name__ == "__main__":
    sys.exit(main())
