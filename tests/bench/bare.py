"""The bare clients: they register prepared jobs and do nothing else. The floors of what we do."""

import asyncio
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
import nomad
import requests

from reconciler.render import render
from reconciler.runtime import Runtime
from tests.bench.nomads import await_scheduler

Json = Mapping[str, Any]

THREADS: Final = (4, 8, 16)
CONNECTIONS: Final = 16


def prepared(runtime: Runtime, uid: str) -> dict[str, Any]:
    """Return the job of a deployment as we would send it, but nobody's: it carries no marker."""
    deployment = runtime.store.get(uid)
    assert deployment is not None
    job = dict(
        render(deployment, runtime.targets[0].template(), runtime.targets[0].reconciler.site).job
    )
    return {**job, "Meta": {**job["Meta"], "managed_by": "bench"}}


def bodies(jobs: Sequence[Json]) -> list[dict[str, Any]]:
    """Return what registers `jobs` under new ids."""
    return [
        {"Job": {**job, "ID": str(uuid.uuid4())}, "EnforceIndex": True, "JobModifyIndex": 0}
        for job in jobs
    ]


def python_nomad_rate(address: str, jobs: Sequence[Json]) -> float:
    """Return how many jobs a second python-nomad's threads register; the best of 4, 8 and 16.

    They are purged again.
    """
    return max(_threads_rate(address, bodies(jobs), threads) for threads in THREADS)


def aiohttp_rate(address: str, jobs: Sequence[Json]) -> float:
    """Return how many jobs a second 16 connections of aiohttp register. They are purged again."""
    batch = bodies(jobs)
    rate = asyncio.run(_connections_rate(address, batch))
    purge(address, batch)
    return rate


def _threads_rate(address: str, batch: Sequence[Json], threads: int) -> float:
    here = threading.local()

    def register(body: Json) -> None:
        if not hasattr(here, "client"):
            place = body["Job"]["Namespace"]
            here.client = nomad.Nomad(address=address, namespace=place, timeout=60)
        here.client.jobs.register_job(body)

    began_s = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(register, batch))
    rate = len(batch) / (time.monotonic() - began_s)
    purge(address, batch)
    return rate


async def _connections_rate(address: str, batch: Sequence[Json]) -> float:
    left = iter(batch)

    async def register_some(session: aiohttp.ClientSession) -> None:
        for body in left:
            async with session.put(f"{address}/v1/jobs", json=body) as answer:
                answer.raise_for_status()
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        began_s = time.monotonic()
        await asyncio.gather(*(register_some(session) for _ in range(CONNECTIONS)))
        return len(batch) / (time.monotonic() - began_s)


def purge(address: str, batch: Sequence[Json]) -> None:
    """Take away what was registered, and wait until the scheduler is done with it."""
    here = threading.local()

    def purge_one(body: Json) -> None:
        if not hasattr(here, "session"):
            here.session = requests.Session()
        options = {"purge": "true", "namespace": body["Job"]["Namespace"]}
        url = f"{address}/v1/job/{body['Job']['ID']}"
        here.session.delete(url, params=options, timeout=60).raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(purge_one, batch))
    await_scheduler(address)
