"""The real adapter's event stream against what no healthy Nomad says."""

import json
import threading
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from queue import Empty, Queue
from typing import Any

import pytest

from reconciler.cluster import nomad, stream
from reconciler.errors import ClusterForbidden, ClusterUnavailable
from tests.pretender import STUB, Answer, Pretender, a_cluster, says


def following(server: Pretender, *, stop: threading.Event | None = None, **more: Any) -> list[Any]:
    cluster = a_cluster(server, **more)
    return list(cluster.changes(after=41, stop=stop or threading.Event()))


def a_line(*events: Mapping[str, Any], index: int = 42) -> bytes:
    return json.dumps({"Index": index, "Events": events}).encode() + b"\n"


def an_event(namespace: str = "ns") -> dict[str, Any]:
    job = {**STUB, "Namespace": namespace}
    return {"Topic": "Job", "Type": "JobRegistered", "Index": 42, "Payload": {"Job": job}}


def test_the_stream_is_read_however_it_is_cut_into_packets(server):
    line = a_line(an_event())
    server.answer = lambda _: says(b"{}\n", line[:10], line[10:] + b"{}", b"\n\n")
    assert [m.index for m in following(server)] == [0, 42, 0]
    (asked,) = server.asked
    assert asked.path == "/v1/event/stream"
    assert asked.query["topic"] == ["Job", "Allocation", "Evaluation", "Deployment", "Node"]
    assert (asked.query["namespace"], asked.query["index"]) == (["ns"], ["42"])


def several(server: Pretender, of_ns: Answer, of_other: Answer) -> Generator[Any, None, None]:
    """Follow two namespaces, whose streams say these."""
    server.answer = lambda asked: of_ns if asked.query["namespace"] == ["ns"] else of_other
    cluster = a_cluster(server, namespaces=("ns", "other"))
    return cluster.changes(after=0, stop=threading.Event())


def test_every_namespace_has_its_stream_without_the_strangers(server):
    """C53: nothing is asked of namespaces that are not ours, and nothing of theirs is heard."""
    stays = Answer(lambda out: (out.write(b"{}\n"), server.gone.wait()))
    line = a_line(an_event("ns"), an_event("foreign"))
    tells = Answer(lambda out: (out.write(b"{}\n" + line), server.gone.wait()))
    with closing(several(server, tells, stays)) as messages:
        told = next(message.changes for message in messages if message.changes)
    assert [change.ref.namespace for change in told] == ["ns"]
    assert sorted(asked.query["namespace"] for asked in server.asked) == [["ns"], ["other"]]


def test_nothing_is_told_before_every_stream_has_begun(server):
    """Or what happens while the lists are on their way would be missed on the last of them."""
    begin = threading.Event()

    def late(out):
        begin.wait(10)
        out.write(b"{}\n")
        out.flush()
        server.gone.wait()

    stays = Answer(lambda out: (out.write(b"{}\n" + a_line(an_event())), server.gone.wait()))
    messages = several(server, stays, Answer(late))
    first: Queue[Any] = Queue()
    listener = threading.Thread(target=lambda: first.put(next(messages)))
    listener.start()
    with pytest.raises(Empty):
        first.get(timeout=0.3)
    begin.set()
    assert first.get(timeout=10).index == 0
    listener.join()
    messages.close()


def test_with_one_stream_all_end(server, monkeypatch):
    monkeypatch.setattr(nomad, "SILENCE_S", 2.0)
    stays = Answer(lambda out: (out.write(b"{}\n"), server.gone.wait()))
    assert [message.index for message in several(server, stays, says(b"{}\n"))] in ([], [0, 0])
    with pytest.raises(ClusterUnavailable, match="no event"):
        list(several(server, stays, says(b"{}\ngarbage\n")))
    assert not [t for t in threading.enumerate() if t.name == "nomad-stream"]


@pytest.mark.parametrize(
    "line",
    [b"<html>\n", b'{"Index": 4\n', b"[]x\n", b'{"error": "gone"}\n', b'{"Events": [{}]}\n', b"{"],
)
def test_a_line_that_is_no_event_breaks_the_stream(server, line):
    """Row R9: a garbage line; trap "error event taken as heartbeat"."""
    server.answer = lambda _: says(b"{}\n", line)
    with pytest.raises(ClusterUnavailable, match="event stream"):
        following(server)


def test_a_line_of_a_megabyte_is_read(server):
    """Row R9: a 1 MB event."""
    event = an_event()
    event["Payload"]["Job"] |= {"Meta": {"managed_by": "ai4papi", "long": "x" * 2**20}}
    server.answer = lambda _: says(a_line(event), b"{}\n")
    first, last = following(server)
    assert (len(first.changes), last.index) == (1, 0)


def test_a_line_without_an_end_is_given_up(server, monkeypatch):
    """Row R9: whatever grows without end is no event, and must not take the memory."""
    monkeypatch.setattr(stream, "LINE_BYTES_MAX", 1000)
    server.answer = lambda _: says(b"x" * 200_000)
    with pytest.raises(ClusterUnavailable, match="a line above 1000 bytes"):
        following(server)


def test_an_unknown_topic_is_left_out_and_what_is_beside_it_is_read(server):
    """Row R9: an unknown topic."""
    strange = {"Topic": "Weather", "Type": "Rain", "Index": 42, "Payload": {"Weather": {}}}
    server.answer = lambda _: says(a_line(strange, an_event()))
    (message,) = following(server)
    assert len(message.changes) == 1


@pytest.mark.parametrize("said", [b'{"Index": 42, "Ev', b'{"error": "gone"}\n', b"{}\n"])
def test_a_stream_that_ends_or_breaks_is_one_connection(server, said):
    """Trap "error event taken as heartbeat, hot spin": an error is an error, and coming back is the
    caller's, who waits first. python-nomad came back 244 times in half a second."""
    server.answer = lambda _: says(said)
    with suppress(ClusterUnavailable):
        following(server)
    assert len(server.asked) == 1


def test_a_silent_stream_is_a_dead_one(server, monkeypatch):
    """Row R9: silence beyond the heartbeats."""
    monkeypatch.setattr(nomad, "SILENCE_S", 0.5)
    server.answer = lambda _: Answer(lambda out: (out.write(b"{}\n"), server.gone.wait()))
    with pytest.raises(ClusterUnavailable, match="event stream broke"):
        following(server)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(Answer("Permission denied", 403), ClusterForbidden), (Answer("", 500), ClusterUnavailable)],
)
def test_a_refused_stream_says_why(server, answer, kind):
    server.answer = lambda _: answer
    with pytest.raises(kind):
        following(server)


def test_a_stream_that_waits_ends_when_it_is_told(server):
    stop = threading.Event()
    server.answer = lambda _: Answer(lambda out: (out.write(b"{}\n"), server.gone.wait()))
    stream = a_cluster(server).changes(after=0, stop=stop)
    assert next(stream).index == 0
    stop.set()
    assert list(stream) == []
