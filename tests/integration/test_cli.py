"""The command line against the real HTTP face; only the reconciler is played by the test."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.overview import PAGE
from api.views import PlanView
from specs.model import Condition, Phase
from tests.terminal import COMMAND, interruptible, on_a_terminal

ROOT = Path(__file__).parents[2]
WAIT_S = 10
READY: Mapping[str, Any] = {"phase": Phase.RUNNING, "ready": True}
ENDPOINTS = {"deepaas": "http://192.0.2.1:5000", "lab": "http://192.0.2.1:8888"}


pytestmark = pytest.mark.usefixtures("elsewhere")


def file_of(*manifests: object) -> str:
    Path("train.yaml").write_text(yaml.safe_dump_all(manifests))
    return "train.yaml"


def uid_of(me, name: str = "train-a") -> str:
    return me.get(f"/v1/specs/{name}").json()["metadata"]["uid"]


def test_apply_says_created_then_unchanged_then_configured(cli, me, manifest):
    first, same = cli("apply", "-f", file_of(manifest())), cli("apply", "-f", "train.yaml")
    changed = cli("apply", "-f", file_of(manifest(hardware={"ram": 4000})))
    labelled = cli(
        "apply", "-f", file_of(manifest(metadata={"labels": {"a": "b"}}, hardware={"ram": 4000}))
    )
    assert [r.stdout for r in (first, same, changed, labelled)] == [
        "deployment train-a created\n",
        "deployment train-a unchanged\n",
        "deployment train-a configured\n",
        "deployment train-a configured\n",
    ]
    assert [r.exit_code for r in (first, same, changed, labelled)] == [0, 0, 0, 0]
    assert me.get("/v1/specs/train-a").json()["spec"]["hardware"]["ram"] == 4000


def test_schema_prints_what_the_server_serves_and_sends_no_token(cli, server):
    printed = cli("schema", env={"AI4PAPI_TOKEN": "nobodys"})
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert json.loads(printed.stdout) == server.client.get("/v1/schema/deployment.json").json()


def test_the_help_of_schema_has_the_line_for_editors(cli):
    said = " ".join(cli("schema", "--help").stdout.split())
    assert "# yaml-language-server: $schema=URL/v1/schema/deployment.json" in said


def test_apply_reads_several_documents_from_standard_input(cli, manifest):
    text = json.dumps(manifest("a")) + "\n---\n" + yaml.safe_dump(manifest("b"))
    result = cli("apply", "-f", "-", stdin=text)
    assert result.stdout == "deployment a created\ndeployment b created\n"


def test_every_fault_is_told_with_its_line_and_the_others_are_applied(cli, manifest):
    bad = manifest("bad", hardware={"ram": -5, "gpus": 1})
    result = cli("apply", "-f", file_of(bad, manifest("good")))
    assert result.exit_code == 1
    assert result.stdout == "deployment good created\n"
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: deployment bad: ")
    assert lines[1].startswith("  train.yaml:7:5 /spec/hardware/gpus: ")
    assert lines[2].startswith("  train.yaml:8:5 /spec/hardware/ram: ")
    assert [line.partition(" ")[0] for line in lines[3:]] == ["hint:", "next:"]


@pytest.mark.parametrize(
    "metadata", [{"name": "Not A Name"}, {}, {"name": 7}, {"name": "../x"}, {"name": "a/b"}]
)
def test_a_name_that_is_none_is_one_fault_among_the_others(cli, manifest, metadata):
    tree = manifest(hardware={"ram": -5}) | {"metadata": metadata}
    result = cli("apply", "-f", file_of(tree))
    assert result.exit_code == 1
    assert "/metadata/name: " in result.stderr
    assert "/spec/hardware/ram: " in result.stderr


@pytest.mark.parametrize("tree", ["a text", [1], {"a": 1}])
def test_what_is_no_manifest_is_refused(cli, tree):
    result = cli("apply", "-f", file_of(tree))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "train.yaml:1:1" in result.stderr


def test_a_dry_run_changes_nothing_and_says_what_would_happen(cli, me, manifest, told):
    told["plan"] = PlanView(effect="creates", fits=False, message="no node has 2 GPUs free")
    result = cli("apply", "-f", file_of(manifest()), "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == (
        "deployment train-a created (dry run): creates; does not fit now: no node has 2 GPUs free\n"
    )
    assert me.get("/v1/specs/train-a").status_code == 404


def test_a_dry_run_of_what_the_cluster_refuses_fails(cli, manifest, told):
    told["plan"] = PlanView(effect="refused", fits=False, message="no driver")
    result = cli("apply", "-f", file_of(manifest()), "--dry-run")
    assert result.exit_code == 1
    assert "no driver" in result.stdout


def test_apply_waits_with_one_line_per_change_and_shows_the_endpoints(cli, me, server, manifest):
    steps = [
        lambda: server.tell(uid_of(me), Phase.QUEUED, message="no room"),
        lambda: server.tell(uid_of(me), **READY, message="on n1", endpoints=ENDPOINTS),
    ]
    with server.meanwhile(*steps):
        result = cli("apply", "-f", file_of(manifest()), "--wait", "--timeout", "20s")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "deployment train-a created"
    assert result.stdout.endswith(
        "deployment train-a is Running\n"
        "  deepaas  http://192.0.2.1:5000\n"
        "  lab      http://192.0.2.1:8888\n"
    )
    shown = [line.split("  ")[2:] for line in result.stdout.splitlines() if "train-a  " in line]
    assert shown[-1] == ["Running", "on n1"]


def test_a_suspended_wish_is_done_when_it_rests(cli, me, server, manifest):
    with server.meanwhile(lambda: server.tell(uid_of(me), Phase.SUSPENDED)):
        result = cli("apply", "-f", file_of(manifest(suspend=True)), "--wait")
    assert result.exit_code == 0
    assert result.stdout.endswith("deployment train-a is Suspended\n")


@pytest.mark.parametrize("command", ["apply", "wait"])
def test_a_deployment_that_fails_ends_with_8_and_its_last_words(cli, me, server, manifest, command):
    me.post("/v1/specs", json=manifest())
    fail = lambda: server.tell(uid_of(me), Phase.FAILED, message="image not found")  # noqa: E731
    wait = {"apply": ["-f", file_of(manifest()), "--wait"], "wait": ["train-a", "--for", "Ready"]}
    with server.meanwhile(fail):
        result = cli(command, *wait[command], "--timeout", "20s")
    assert result.exit_code == 8
    assert result.stderr == (
        "error: deployment train-a ended as Failed: image not found\n"
        "next: ai4papi get train-a -o yaml\n"
    )


def test_a_stalled_deployment_ends_with_8(cli, me, server, manifest):
    me.post("/v1/specs", json=manifest())
    deployment = server.store.get(uid_of(me))
    stalled = Condition(
        type="Stalled",
        status="True",
        reason="JobRejected",
        last_transition_time=deployment.created_at,
    )
    status = deployment.status.model_copy(
        update={"conditions": (stalled,), "observed_generation": 1, "message": "no such driver"}
    )
    server.store.put_status(deployment.uid, status, applied=None, seen_index=1)
    result = cli("wait", "train-a", "--for", "Ready", "--timeout", "20s")
    assert result.exit_code == 8
    assert "no such driver" in result.stderr


def test_waiting_for_all_of_several_goes_on_after_one_that_failed(cli, me, server, manifest):
    for name in ("a", "b"):
        me.post("/v1/specs", json=manifest(name))
    server.tell(uid_of(me, "a"), Phase.FAILED)
    server.tell(uid_of(me, "b"), **READY)
    result = cli("apply", "-f", file_of(manifest("a"), manifest("b")), "--wait")
    assert result.exit_code == 8
    assert "deployment b is Running" in result.stdout


@pytest.mark.parametrize("goal", ["Ready", "Deleted"])
def test_a_wait_that_takes_too_long_ends_with_124_and_the_reason(cli, me, server, manifest, goal):
    me.post("/v1/specs", json=manifest())
    server.tell(uid_of(me), Phase.QUEUED, message="no room")
    result = cli("wait", "train-a", "--for", goal, "--timeout", "0")
    assert result.exit_code == 124
    assert f"is not {goal} after 0s: Queued: no room" in result.stderr
    assert f"next: ai4papi wait train-a --for {goal}" in result.stderr


def test_delete_marks_and_waits_until_the_record_is_gone(cli, me, server, manifest):
    me.post("/v1/specs", json=manifest())
    with server.meanwhile(lambda: server.finish_deletion(uid_of(me))):
        result = cli("delete", "train-a", "-y", "--wait")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "deployment train-a is being deleted"
    assert lines[-1] == "deployment train-a is gone"
    assert me.get("/v1/specs/train-a").status_code == 404


def test_waiting_for_the_end_of_what_is_gone_is_done(cli):
    assert cli("wait", "train-a", "--for", "Deleted").exit_code == 0


def test_delete_asks_nobody_where_nobody_is(cli, me, manifest):
    me.post("/v1/specs", json=manifest())
    result = cli("delete", "train-a", stdin="y\n")
    assert result.exit_code == 2
    assert "next: ai4papi delete train-a -y" in result.stderr
    assert "deletionTimestamp" not in me.get("/v1/specs/train-a").json()["metadata"]


def test_get_prints_json_alone_on_standard_output(cli, me, manifest):
    assert json.loads(cli("get", "-o", "json").stdout) == {"items": []}
    me.post("/v1/specs", json=manifest("a"))
    me.post("/v1/specs", json=manifest("b"))
    assert json.loads(cli("get", "a", "-o", "json").stdout) == me.get("/v1/specs/a").json()
    assert (
        json.loads(cli("get", "-o", "json").stdout)["items"] == me.get("/v1/specs").json()["items"]
    )
    assert yaml.safe_load(cli("get", "a", "-o", "yaml").stdout) == me.get("/v1/specs/a").json()
    assert cli("get", "-o", "name").stdout == "b\na\n"


def test_get_shows_a_table_and_says_where_there_is_nothing(cli, me, server, manifest):
    nothing = cli("get")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "You have no deployments" in nothing.stderr
    me.post("/v1/specs", json=manifest())
    server.tell(uid_of(me), Phase.QUEUED, message="needs 2 GPUs; none has 2 free")
    for form in ("table", "wide"):
        head, row = cli("get", "-o", form).stdout.splitlines()
        assert head.startswith("NAME ")
        assert row.startswith("train-a ")
        assert row.endswith("needs 2 GPUs; none has 2 free")


def test_one_name_in_two_vos_is_told_apart_by_vo(server, manifest):
    me = server.caller(several_vos=True)
    environ = {"AI4PAPI_SERVER": server.url, "AI4PAPI_TOKEN": me.token}
    run = lambda *arguments: CliRunner().invoke(app, arguments, env=environ)  # noqa: E731
    both = [manifest(metadata={"vo": vo}) for vo in ("vo.ai4eosc.eu", "vo.imagine-ai.eu")]
    assert run("apply", "-f", file_of(*both)).stdout == "deployment train-a created\n" * 2
    assert run("apply", "-f", "train.yaml").stdout == "deployment train-a unchanged\n" * 2
    assert run("get", "train-a").exit_code == 1
    shown = run("get", "train-a", "--vo", "vo.imagine-ai.eu", "-o", "json")
    assert json.loads(shown.stdout)["metadata"]["vo"] == "vo.imagine-ai.eu"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["apply"],
        ["apply", "-f", "none.yaml"],
        ["apply", "-f", "-", "--wait", "--dry-run"],
        ["get", "-o", "xml"],
        ["get", "Not A Name"],
        ["get", ""],
        ["delete", ".."],
        ["wait", "a"],
        ["wait", "a", "--for", "Happiness"],
        ["wait", "a", "--for", "Ready", "--timeout", "soon"],
        ["get", "--server", "http://api.example"],
        ["get", "--server", "nowhere"],
        ["get", "--token-file", "none"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_so(cli, arguments):
    result = cli(*arguments)
    assert result.exit_code == 2
    assert result.stderr


@pytest.mark.parametrize(
    "arguments", [["get", "none"], ["delete", "none", "-y"], ["wait", "none", "--for", "Ready"]]
)
def test_what_is_not_there_ends_with_4(cli, arguments):
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "next: ai4papi get" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["get"], ["apply", "-f", "-"], ["delete", "a", "-y"], ["wait", "a", "--for", "Ready"]],
)
def test_a_token_that_is_nobodys_ends_with_5(cli, manifest, arguments):
    stdin = json.dumps(manifest())
    result = cli(*arguments, stdin=stdin, env={"AI4PAPI_TOKEN": "nobody-s3cret"})
    assert (result.exit_code, result.stdout) == (5, "")
    assert "s3cret" not in result.stderr


def test_no_token_at_all_ends_with_5(cli):
    result = cli("get", env={"AI4PAPI_TOKEN": ""})
    assert result.exit_code == 5
    assert "AI4PAPI_TOKEN" in result.stderr


def test_the_local_token_file_lets_one_in(cli, me):
    Path("var").mkdir()
    Path("var/token").write_text(me.token)
    assert cli("get", env={"AI4PAPI_TOKEN": ""}).exit_code == 0


def test_a_name_that_is_still_going_ends_with_6(cli, me, manifest):
    me.post("/v1/specs", json=manifest())
    me.delete("/v1/specs/train-a")
    result = cli("apply", "-f", file_of(manifest(hardware={"ram": 4000})))
    assert result.exit_code == 6


class OddServer(ThreadingHTTPServer):
    """Answers with one body after the other, and keeps what it was asked."""

    def __init__(self, status: int, headers: Mapping[str, str], *bodies: bytes) -> None:
        super().__init__(("127.0.0.1", 0), OddHandler)
        self.status, self.headers, self.bodies = status, headers, list(bodies)
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class OddHandler(BaseHTTPRequestHandler):
    server: OddServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        body = self.server.bodies.pop(0)
        if self.server.status == 0:
            self.wfile.write(body)
            return
        self.send_response(self.server.status)
        for name, value in {"Content-Length": str(len(body)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def odd_server(status: int, *bodies: bytes, **headers: str) -> Iterator[OddServer]:
    with OddServer(status, headers, *(bodies or [b""])) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(WAIT_S)


def test_a_list_longer_than_a_page_is_shown_whole(cli):
    pages = [
        json.dumps({"items": [{"metadata": {"name": name}}], "metadata": {"continue": after}})
        for name, after in (("b", "7 &"), ("a", ""))
    ]
    with odd_server(200, *(page.encode() for page in pages)) as odd:
        result = cli("get", "-o", "name", env={"AI4PAPI_SERVER": odd.url})
    assert result.stdout == "b\na\n"
    assert [path for path, _ in odd.asked] == ["/v1/specs", "/v1/specs?continue=7+%26"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(cli, status):
    with odd_server(200, b"{}") as other, odd_server(status, Location=other.url) as first:
        result = cli("get", env={"AI4PAPI_SERVER": first.url})
    assert result.exit_code == 1
    assert "not followed" in result.stderr
    assert (len(first.asked), other.asked) == (1, [])


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (422, {"reason": "QuotaExceeded", "title": "Too much", "detail": "3 of 3"}, 7, "3 of 3"),
        (403, {"reason": "Forbidden", "title": "You may not"}, 5, "You may not"),
        (500, {"reason": "InternalError", "title": "Broken", "requestId": "r1"}, 1, "request r1"),
        (404, {"detail": "Not Found"}, 1, "Is it an ai4papi server?"),
        (200, "<html>", 1, "not JSON"),
        (502, "<html>", 1, "answered 502"),
        (0, "garbage\r\n\r\n", 1, "does not answer"),
        (0, "", 1, "does not answer"),
    ],
)
def test_whatever_a_server_answers_ends_in_a_sentence(cli, status, body, code, said):
    raw = (body if isinstance(body, str) else json.dumps(body)).encode()
    with odd_server(status, raw) as odd:
        result = cli("get", env={"AI4PAPI_SERVER": odd.url})
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_a_server_that_is_not_there_ends_in_a_sentence_and_the_next_command(cli):
    with odd_server(200) as odd:
        url = odd.url
    result = cli("get", env={"AI4PAPI_SERVER": url})
    assert result.exit_code == 1
    assert "does not answer: Connection refused" in result.stderr
    assert "next: ai4papi run" in result.stderr


def test_the_token_travels_in_its_header_only(cli, me):
    with odd_server(200, b'{"items": [], "metadata": {"continue": ""}}') as odd:
        cli("get", env={"AI4PAPI_SERVER": f"{odd.url}/papi/"})
    assert odd.asked == [("/papi/v1/specs", f"Bearer {me.token}")]


def test_an_interrupt_ends_with_130_and_undoes_nothing(me, server, manifest, environ):
    me.post("/v1/specs", json=manifest())
    process = subprocess.Popen(
        [*COMMAND, "wait", "train-a", "--for", "Ready"],
        preexec_fn=interruptible,  # noqa: PLW1509
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("train-a  0s  Accepted")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert told == "interrupted: what was sent goes on without you\n"
    # Ends the long poll that the server still answers, so that it can stop at once.
    server.tell(uid_of(me), **READY)


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_shows_the_time_as_it_passes_in_colour_unless_told_not_to(
    me, server, manifest, environ, no_color
):
    me.post("/v1/specs", json=manifest())
    if no_color:
        environ["NO_COLOR"] = "1"
    tell = lambda: server.tell(uid_of(me), **READY, message="on n1", endpoints=ENDPOINTS)  # noqa: E731
    with server.meanwhile(tell):
        code, seen = on_a_terminal(environ, "wait", "train-a", "--for", "Ready")
    assert code == 0
    assert "deployment train-a is Running" in seen
    assert "%" not in seen
    assert ("\x1b[1;36m" in seen) is not no_color


def test_help_costs_little_and_loads_next_to_nothing() -> None:
    heavy = "{'typer','typing','json','pydantic','fastapi','requests','rich','yaml','specs'}"
    script = (
        "import sys\nfrom api.cli import main\nsys.argv = ['ai4papi', '--help']\n"
        f"try: main()\nfinally: print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr == "[]\n"
    assert "apply" in done.stdout
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert cpu_s < 0.2  # 0.02 s measured; room for a busy machine


def test_help_names_every_verb_once_and_is_the_same_page_everywhere(cli) -> None:
    page = cli("--help").stdout
    assert page == PAGE
    told = re.findall(r"^  ([a-z-]+) {2,}\S", page.partition("Options:")[0], re.MULTILINE)
    assert sorted(told) == sorted(get_command(app).commands)
    assert max(map(len, page.splitlines())) <= 80


def test_the_client_loads_nothing_of_the_server(environ, server) -> None:
    heavy = (
        "{'pydantic','fastapi','sqlalchemy','uvicorn','requests','rich','specs.model','reconciler'}"
    )
    script = (
        "import sys\nfrom api.cli import main\nsys.argv = ['ai4papi', 'apply', '-f', '-']\n"
        f"try: main()\nfinally: print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **environ},
        input="apiVersion: ai4papi/v1\nkind: Deployment\nmetadata: {name: light}\nspec: {}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "deployment light created\n[]\n"


def test_run_serves_no_other_machine_in_local_mode(cli):
    result = cli("run", "--host", "0.0.0.0", env={"AI4PAPI_AUTH": "local"})
    assert result.exit_code == 1
    assert "loopback" in str(result.exception)


def test_reconcile_ends_as_the_pass_does(cli):
    result = cli("reconcile", env={"AI4PAPI_CLUSTER": "imaginary"})
    assert result.exit_code == 2
    assert "imaginary" in result.stderr
