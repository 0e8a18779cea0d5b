"""How long until Nomad knows: after a POST, and after somebody stopped a job by hand.

Both are timed at Nomad's event stream, ours and the bare client's alike.
"""

import asyncio
import statistics
import time
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import requests

from tests.bench.bare import bodies, prepared
from tests.bench.figures import Figure, at_most, quantile
from tests.bench.heard import DEREGISTERED, REGISTERED, Heard
from tests.bench.nomads import a_nomad, await_scheduler
from tests.bench.place import Place, tell
from tests.bench.processes import AUTHORIZATION, MANIFEST, OurServer
from tests.bench.site import etc_without_limits, fill, open_site

Json = Mapping[str, Any]

PER_SECOND: Final = 20


def measure(place: Place) -> list[Figure]:
    """Measure an open load of POSTs, then stops by hand, through one server."""
    home = place.sub("latency")
    with a_nomad(home / "nomad") as address:
        job = _a_job(place, address)
        etc = etc_without_limits(home)
        with OurServer(home, address, etc=etc) as server, Heard(address) as heard:
            own = Latencies(server.url, address, job, heard)
            figures = own.of_posts(place.rounds, seconds=place.sized(6, 10))
            await_scheduler(address)
            return [*figures, own.of_stops(place.sized(5, 20))]


def _a_job(place: Place, address: str) -> dict[str, Any]:
    with open_site(place.sub("prepared"), address) as runtime:
        (uid,) = fill(runtime, 1, prefix="prepared")
        return prepared(runtime, uid)


class Latencies:
    """One server and the Nomad behind it, with an ear at its events."""

    def __init__(self, url: str, address: str, job: dict[str, Any], heard: Heard) -> None:
        self._url = url
        self._address = address
        self._job = job
        self._heard = heard
        self._uids: list[str] = []

    def of_posts(self, rounds: int, *, seconds: int) -> list[Figure]:
        """Send 20 a second, whatever the answers take; the bare registers are sent alike."""
        ours: list[list[float]] = []
        floors: list[list[float]] = []
        for number in range(rounds):
            for is_floor in (True, False) if number % 2 else (False, True):
                if is_floor:
                    floors.append(asyncio.run(self._registers(PER_SECOND * seconds)))
                else:
                    posts = self._posts(f"r{number}", PER_SECOND * seconds)
                    ours.append(asyncio.run(posts))
                await_scheduler(self._address)
            tell(f"round {number}: {_in_words(ours[-1])}, bare register {_in_words(floors[-1])}")
        name = f"POST answered to job registered at {PER_SECOND}/s"
        return [
            Figure(
                f"{name}, {word}",
                "ms",
                tuple(quantile(of_round, share) for of_round in ours),
                tuple(quantile(of_round, share) for of_round in floors),
                at_most(ratio),
            )
            for word, share, ratio in (("median", 0.5, 2), ("p99", 0.99, 3))
        ]

    def of_stops(self, count: int) -> Figure:
        """Stop jobs by hand, one after the other; the bare client registers again what it heard."""
        ours, floors = [], []
        for uid in self._uids[:count]:
            floors.append(self._stopped_bare())
            ours.append(self._stopped(uid, DEREGISTERED, REGISTERED))
        tell(f"stops: {_in_words(ours)}, bare {_in_words(floors)}")
        name = "hand stop to registered again"
        return Figure(name, "ms", tuple(ours), tuple(floors), at_most(2))

    async def _posts(self, prefix: str, count: int) -> list[float]:
        async def post(session: aiohttp.ClientSession, number: int) -> tuple[str, float]:
            manifest = {**MANIFEST, "metadata": {"name": f"{prefix}-{number}"}}
            async with session.post(f"{self._url}/v1/specs", json=manifest) as answer:
                answer.raise_for_status()
                view = await answer.json()
                answered_s = time.monotonic()
            return view["metadata"]["uid"], answered_s

        async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:
            answered = await _paced([lambda n=n: post(session, n) for n in range(count)])
        self._uids += [uid for uid, _ in answered]
        return [await self._until_heard_ms(uid, at_s) for uid, at_s in answered]

    async def _registers(self, count: int) -> list[float]:
        async def register(session: aiohttp.ClientSession, body: Json) -> tuple[str, float]:
            sent_s = time.monotonic()
            async with session.put(f"{self._address}/v1/jobs", json=body) as answer:
                answer.raise_for_status()
                await answer.read()
            return body["Job"]["ID"], sent_s

        batch = bodies([self._job] * count)
        async with aiohttp.ClientSession() as session:
            sent = await _paced([lambda body=body: register(session, body) for body in batch])
        return [await self._until_heard_ms(uid, at_s) for uid, at_s in sent]

    async def _until_heard_ms(self, job_id: str, since_s: float) -> float:
        told = await asyncio.to_thread(self._heard.first, job_id, REGISTERED)
        return (told.at_s - since_s) * 1000

    def _stopped(self, job_id: str, *kinds: str) -> float:
        """Stop a job; return the milliseconds until the last of these events was heard."""
        began_s, index = time.monotonic(), self._stop(job_id) - 1
        for kind in kinds:
            told = self._heard.first(job_id, kind, after=index)
            index = told.index
        return (told.at_s - began_s) * 1000

    def _stopped_bare(self) -> float:
        (body,) = bodies([self._job])
        requests.put(f"{self._address}/v1/jobs", json=body, timeout=60).raise_for_status()
        job_id = body["Job"]["ID"]
        registered = self._heard.first(job_id, REGISTERED)
        began_s = time.monotonic()
        self._stop(job_id)
        stopped = self._heard.first(job_id, DEREGISTERED, after=registered.index)
        again = {"Job": body["Job"]}
        requests.put(f"{self._address}/v1/jobs", json=again, timeout=60).raise_for_status()
        told = self._heard.first(job_id, REGISTERED, after=stopped.index)
        return (told.at_s - began_s) * 1000

    def _stop(self, job_id: str) -> int:
        url = f"{self._address}/v1/job/{job_id}"
        options = {"namespace": self._job["Namespace"]}
        answer = requests.delete(url, params=options, timeout=60)
        answer.raise_for_status()
        return int(answer.json()["JobModifyIndex"])


async def _paced(calls: list[Any]) -> list[Any]:
    """Begin one call after the other, 20 a second, without waiting for answers; return them."""
    began_s = time.monotonic()
    tasks = []
    for number, call in enumerate(calls):
        await asyncio.sleep(max(0.0, began_s + number / PER_SECOND - time.monotonic()))
        tasks.append(asyncio.create_task(call()))
    return list(await asyncio.gather(*tasks))


def _in_words(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ms (p99 {quantile(values, 0.99):.1f})"
