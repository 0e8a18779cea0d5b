"""Waiting for what was just applied."""

import time
from typing import Any

from api.cli.access import Access, Server
from api.cli.apply import Applied, wait_for_all
from api.cli.client import Answer, Client
from api.cli.failures import Code, refused


class WithoutRecord(Client):
    """A server whose records are gone."""

    def status(self, name: str, **_: Any) -> Answer:
        raise refused(404, {"reason": "NotFound", "title": "No such deployment"}, server="S")


def test_what_is_deleted_before_the_first_look_has_ended_badly() -> None:
    client = WithoutRecord(Access(Server("http", "127.0.0.1", 1), lambda: "token"))
    metadata = {"name": "a", "vo": "v", "uid": "u"}
    applied = Applied({"metadata": metadata, "spec": {"suspend": False}}, "created")
    failures = wait_for_all(client, [applied], until=time.monotonic() + 20)
    assert [failure.code for failure in failures] == [Code.ENDED_BADLY]
