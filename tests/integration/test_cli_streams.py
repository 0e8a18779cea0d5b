"""`logs` and `get --watch` against a real server."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

from api.cli.streams import lines_of
from api.cli.texts import harmless
from api.logs import Logs
from specs.model import AllocationStatus, JobStatus, Phase
from tests.integration.test_api_logs import Playing
from tests.real import wait_until
from tests.terminal import interruptible

WAIT_S = 20


@pytest.fixture
def playing(server):
    playing, before = Playing(), server.app.state.logs
    server.app.state.logs = Logs(server.store, playing, lambda _: ("usertask",))
    yield playing
    server.app.state.logs.close()
    server.app.state.logs = before


@pytest.fixture
def places(server, me, manifest):
    uid = me.put("/v1/specs/train-a", json=manifest()).json()["metadata"]["uid"]

    def tell(**statuses: str) -> None:
        allocations = tuple(
            AllocationStatus(id=place, client_status=status) for place, status in statuses.items()
        )
        nomad = JobStatus(job_id=uid, allocations=allocations)
        server.tell(uid, Phase.RUNNING, nomad=nomad)

    tell(new="running", old="failed")
    return tell


@pytest.fixture
def start(environ, elsewhere, server):
    """Start a command line as a process of its own."""
    started = []

    def run(*words: str, **options):
        process = subprocess.Popen(
            [sys.executable, "-c", "from api.cli import main; main()", *words],
            env={**os.environ, **environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=interruptible,  # noqa: PLW1509
            **options,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def test_a_log_is_printed_byte_for_byte_into_a_pipe(start, playing, places):
    playing.text["new", "usertask", "stdout"] = b"one\n\x1b[31mtwo\xff\n"
    process = start("logs", "train-a", stdout=subprocess.PIPE)
    assert process.communicate(timeout=WAIT_S)[0] == b"one\n\x1b[31mtwo\xff\n"
    assert process.returncode == 0


def test_which_log_can_be_said(cli, playing, places):
    playing.text["old", "usertask", "stderr"] = b"one\ntwo\n"
    result = cli("logs", "train-a", "--stderr", "--previous", "--tail", "1")
    assert (result.exit_code, result.stdout) == (0, "two\n")


def test_a_terminal_is_not_driven_by_a_log(start, playing, places):
    playing.text["new", "usertask", "stdout"] = b"a\x1b[2J\x1b]0;title\x07b\x9b1m\x08\tc\r\n"
    master, slave = pty.openpty()
    process = start("logs", "train-a", stdout=slave)
    os.close(slave)
    assert process.wait(WAIT_S) == 0
    shown = os.read(master, 1000)
    os.close(master)
    assert shown == "ab\ufffd1m\\x08\tc\r\n".encode()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["none"], 4),
        (["train-a", "--previous"], 4),
        (["train-a", "--tail", "x"], 2),
        (["train-a", "--task", "nope"], 1),
    ],
)
def test_how_logs_ends(cli, playing, places, words, code):
    places(new="running")
    playing.text["new", "usertask", "stdout"] = b"one\n"
    assert cli("logs", *words).exit_code == code


def test_following_ends_with_the_run(start, playing, places):
    playing.text["new", "usertask", "stdout"] = b"one\n"
    process = start("logs", "train-a", "-f", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"one\n"
    playing.text["new", "usertask", "stdout"] += b"two\n"
    assert process.stdout.readline() == b"two\n"
    places(new="complete")
    assert process.wait(WAIT_S) == 0


def test_who_interrupts_following_ends_with_130(start, playing, places):
    playing.text["new", "usertask", "stdout"] = b"one\n"
    process = start("logs", "train-a", "-f", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"one\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 130
    wait_until(lambda: playing.open == 0, within_s=WAIT_S)


def test_a_watch_prints_a_line_for_each_change(start, server, me, places):
    process = start("get", "-w", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline().split() == ["ADDED", "train-a", "Running"]
    uid = me.get("/v1/specs/train-a").json()["metadata"]["uid"]
    server.tell(uid, Phase.FAILED, message="it broke\x1b[2J")
    line = process.stdout.readline()
    assert line == "MODIFIED  train-a  Failed  it broke\\x1b[2J\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 130


def test_a_watch_of_one_prints_json_lines_and_goes_on_after_the_server_ended_it(
    start, server, me, manifest, places
):
    me.put("/v1/specs/other", json=manifest("other"))
    words = ("get", "train-a", "-w", "-o", "json")
    process = start(*words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    first = json.loads(process.stdout.readline())
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "train-a")
    ended = threading.Event()
    loop = server.app.state.changes._loop
    loop.call_soon_threadsafe(lambda: (server.app.state.streams.end(), ended.set()))
    assert ended.wait(WAIT_S)
    me.patch("/v1/specs/train-a", json={"metadata": {"labels": {"a": "b"}}})
    again = json.loads(process.stdout.readline())
    assert (again["type"], again["object"]["metadata"]["labels"]) == ("MODIFIED", {"a": "b"})


def test_a_watch_prints_no_yaml(cli):
    assert cli("get", "-w", "-o", "yaml").exit_code == 2


def test_a_watch_of_nothing_is_not_found(cli):
    assert cli("get", "none", "-w").exit_code == 4


def test_no_escape_sequence_survives_in_two_halves():
    pieces = [b"a\x1b", b"[2Jb\xc3", b"\xa9\nrest"]
    assert [harmless(line) for line in lines_of(pieces)] == ["ab\u00e9\n", "rest"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq...\x1b\\x", "x"),
        ("50%\r100%\r\n", "50%\\r100%\n"),
        ("\u202e", "\\u202e"),
    ],
)
def test_what_drives_a_terminal_is_taken_out(text, shown):
    assert harmless(text) == shown
