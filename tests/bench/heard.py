"""What Nomad's event stream tells of jobs, each with the moment at which it was heard."""

import http.client
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

REGISTERED: Final = "JobRegistered"
DEREGISTERED: Final = "JobDeregistered"


@dataclass(frozen=True, slots=True)
class Told:
    """One event about a job: when it was heard (monotonic seconds), its type, Nomad's index."""

    at_s: float
    kind: str
    index: int


class Heard:
    """A reader of the event stream of all namespaces; use it with `with`."""

    def __init__(self, address: str) -> None:
        self._changed = threading.Condition()
        self._told: dict[str, list[Told]] = defaultdict(list)
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
        connection.request("GET", "/v1/event/stream?topic=Job&namespace=*")
        self._answer = connection.getresponse()
        self._thread = threading.Thread(target=self._listen, name="heard", daemon=True)
        self._ending = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._ending = True

    def first(self, job_id: str, kind: str, *, after: int = 0, within_s: float = 60) -> Told:
        """Wait for the first event of that kind about a job after an index; return it.

        Raises: TimeoutError.
        """
        until_s = time.monotonic() + within_s
        with self._changed:
            while True:
                for told in self._told[job_id]:
                    if told.kind == kind and told.index > after:
                        return told
                left_s = until_s - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    raise TimeoutError(f"no {kind} of {job_id} within {within_s} s")

    def _listen(self) -> None:
        while line := self._answer.readline():
            at_s = time.monotonic()
            if self._ending:
                return
            message = json.loads(line)
            with self._changed:
                for event in message.get("Events") or ():
                    told = Told(at_s, event["Type"], message["Index"])
                    self._told[event["Key"]].append(told)
                self._changed.notify_all()
