"""New specs to registered jobs, beside bare clients that register the same jobs, prepared."""

import time
from pathlib import Path

from sqlalchemy import create_engine, func, select

from reconciler.runtime import Runtime
from specs.schema import deployments
from tests.bench.bare import aiohttp_rate, prepared, python_nomad_rate
from tests.bench.figures import Figure, at_least
from tests.bench.nomads import a_nomad, await_scheduler
from tests.bench.place import Place, tell
from tests.bench.site import fill, open_site
from tests.real import wait_until


def measure(place: Place) -> list[Figure]:
    """Measure 500 and 2,000 new specs."""
    counts = place.sized((200,), (500, 2000))
    return [figure for count in counts for figure in _converge(place, count)]


def _converge(place: Place, count: int) -> list[Figure]:
    ours, threads, connections = [], [], []
    for number in range(place.rounds):
        home = place.sub(f"{count}-{number}")
        # A Nomad of its own for each round: nothing of the last one lies in its lists.
        with a_nomad(home / "nomad") as address, open_site(home, address) as runtime:
            uids = fill(runtime, count, prefix=f"r{number}")
            jobs = [prepared(runtime, uid) for uid in uids]
            # Ours goes last in one round and first in the next.
            if number % 2:
                ours.append(_rate(runtime, home, count))
                await_scheduler(address)
            threads.append(python_nomad_rate(address, jobs))
            connections.append(aiohttp_rate(address, jobs))
            if not number % 2:
                ours.append(_rate(runtime, home, count))
        tell(
            f"{count}, round {number}: {ours[-1]:.0f} specs/s,"
            f" python-nomad {threads[-1]:.0f}/s, aiohttp {connections[-1]:.0f}/s"
        )
    name = f"converge {count} new specs"
    return [
        Figure(name, "specs/s", tuple(ours), tuple(threads), at_least(0.8)),
        Figure(f"{name}, beside aiohttp", "specs/s", tuple(ours), tuple(connections)),
    ]


def _rate(runtime: Runtime, home: Path, count: int) -> float:
    began_s = time.monotonic()
    runtime.start()
    await_applied(home, count, every_s=0.02)
    return count / (time.monotonic() - began_s)


def await_applied(home: Path, count: int, *, every_s: float = 0.2) -> None:
    """Wait until so many deployments of the store in `home` have their job in Nomad.

    The question is the database's, so it takes next to nothing of the process that asks.
    """
    question = select(func.count()).where(deployments.c.applied_index > 0)
    engine = create_engine(f"sqlite:///{home}/ai4papi.db")
    try:
        with engine.connect() as connection:

            def applied() -> bool:
                done: int = connection.execute(question).scalar_one()
                connection.rollback()
                return done >= count

            wait_until(applied, within_s=900, every_s=every_s, what=f"{count} applied")
    finally:
        engine.dispose()
