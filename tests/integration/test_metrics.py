"""What Prometheus and an operator's log reader get from a running server."""

import json
import logging
import re
import shutil
import subprocess
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.edge import LOOPBACK, is_among
from api.serve import build, read_settings
from reconciler.logs import JsonLines, about
from tests.pretender import JOB, WRITTEN, Answer, a_cluster, pretending
from tests.real import wait_until

RULES = Path(__file__).parents[2] / "etc/prometheus/ai4papi.rules.yaml"
BOARD = Path(__file__).parents[2] / "etc/grafana/ai4papi.json"
TOKEN = "local-token-0123456789"


def read(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


@pytest.fixture(scope="module")
def site(tmp_path_factory, serve):
    """A whole server on the simulated cluster: its client and runtime."""
    home = tmp_path_factory.mktemp("metrics")
    environ = {
        "AI4PAPI_AUTH": "local",
        "AI4PAPI_LOCAL_TOKEN": TOKEN,
        "AI4PAPI_CLUSTER": "simulated",
        "AI4PAPI_STORE_URL": f"sqlite:///{home / 'specs.db'}",
    }
    runtime, app = build(read_settings(environ))
    with (
        serve(app) as url,
        httpx.Client(
            base_url=url, trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as client,
    ):
        manifest = {
            "apiVersion": "ai4papi/v1",
            "kind": "Deployment",
            "metadata": {"name": "one-of-alices"},
            "spec": {},
        }
        made = client.put("/v1/specs/one-of-alices", json=manifest)
        assert made.status_code == 201, made.text
        wait_until(
            lambda: client.get("/v1/specs/one-of-alices/status").json()["phase"] == "Running",
            within_s=30,
        )
        yield client, runtime


@pytest.fixture
def page(site):
    answer = site[0].get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def test_promtool_or_its_python_parser_accepts_the_page(page):
    promtool = shutil.which("promtool")
    print(f"checked by {promtool or 'prometheus_client.parser'}")
    families = read(page)
    assert all(family.documentation for family in families.values())
    if promtool:
        run = subprocess.run(
            [promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr


def test_the_page_tells_what_the_loop_did(page):
    families = read(page)
    counts = {
        sample.labels["stage"]: sample.value
        for sample in families["ai4papi_convergence_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert counts["registered"] == 1
    assert families["ai4papi_nomad_stream_connected"].samples[0].value == 1
    assert families["ai4papi_store_up"].samples[0].value == 1
    assert families["ai4papi_feed_lag"].samples[0].value == 0
    mirrored = {s.labels["kind"]: s.value for s in families["ai4papi_mirror_objects"].samples}
    assert mirrored["jobs"] == 1


def test_no_name_of_anybody_is_in_it(page):
    assert "one-of-alices" not in page
    assert TOKEN not in page


def test_no_path_of_anybody_becomes_a_label(site):
    client, _ = site
    for number in range(20):
        client.get(f"/v1/made-up-{number}")
        client.get(f"/v1/specs/made-up-{number}")
    families = read(client.get("/metrics").text)
    operations = {s.labels["operation"] for s in families["ai4papi_http_requests"].samples}
    assert not any("made-up" in operation for operation in operations)
    assert {"unmatched", "readSpec"} <= operations


def test_a_scrape_asks_nomad_nothing_and_the_store_once_in_a_while(site):
    client, runtime = site
    client.get("/metrics")
    reads = "ai4papi_store_duration_seconds_count"
    before = runtime.measures.registry.get_sample_value(reads, {"kind": "read"})
    for _ in range(10):
        client.get("/metrics")
    after = runtime.measures.registry.get_sample_value(reads, {"kind": "read"})
    # Others read beside us; ten scrapes that ask are forty reads.
    assert after - before < 20


def test_the_deployments_are_counted_by_phase(site):
    assert site[1].store.phases() == {"Running": 1}


def test_every_phase_has_a_series(page):
    phases = {s.labels["phase"] for s in read(page)["ai4papi_deployments"].samples}
    assert {"Running", "Failed", "Held", "Queued"} <= phases


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("10.0.0.7", False),
        ("::ffff:10.0.0.7", False),
        ("somewhere", False),
    ],
)
def test_only_this_machine_reads_metrics_unless_told_otherwise(address, allowed):
    assert is_among(address, LOOPBACK) is allowed


def test_an_operator_names_the_networks_of_the_monitoring():
    assert is_among("10.0.0.7", [ip_network("10.0.0.0/24")])
    assert not is_among("10.0.1.7", [ip_network("10.0.0.0/24")])


def test_every_series_of_rules_and_board_is_there(page):
    """A rule on a series that nobody writes never fires."""

    known = set()
    for family in read(page).values():
        known |= {family.name, *(sample.name for sample in family.samples)}
    # Counters of what did not happen here have no sample yet.
    known |= {f"ai4papi_{name}_total" for name in ("holds", "nomad_requests", "http_requests")}
    known |= {f"ai4papi_nomad_request_duration_seconds_{end}" for end in ("bucket", "count", "sum")}
    for file in (RULES, BOARD):
        asked = set(re.findall(r"\bai4papi_[a-z_]+", file.read_text()))
        assert asked - known == set(), file


def test_the_rules_are_rules():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no `promtool` program")
    run = subprocess.run(
        [promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_call_to_nomad_carries_the_id_of_what_it_is_made_for():
    heard = []
    with pretending() as server:
        cluster = a_cluster(server)
        server.answer = lambda _: Answer(WRITTEN)
        cluster.register_job(JOB, if_index=0)
        with about(uid="uid-1"):
            cluster.register_job(JOB, if_index=0)
            with about(request_id="request-1"):
                cluster.register_job(JOB, if_index=0)
        heard = [asked.headers.get("X-Request-ID") for asked in server.asked]
    assert heard == [None, "uid-1", "request-1"]


def test_each_answer_is_one_line_that_names_its_request(server, caplog):
    caplog.set_level(logging.INFO, logger="api.edge")
    server.client.get("/v1/nothing-here", headers={"X-Request-ID": "mine-1"})
    wait_until(lambda: caplog.records, within_s=10)  # the answer is sent before it is told
    (line,) = [r for r in caplog.records if r.message == "request answered"]
    told = json.loads(JsonLines().format(line))
    assert (told["request_id"], told["status"], told["operation"]) == ("mine-1", 404, "unmatched")
    assert "nothing-here" not in json.dumps(told)


def test_probes_that_go_well_are_no_lines(server, caplog):
    caplog.set_level(logging.INFO, logger="api.edge")
    for path in ("/livez", "/readyz", "/metrics"):
        assert server.client.get(path).status_code == 200
    assert not caplog.records


def test_lines_of_a_look_name_its_deployment():
    record = logging.LogRecord("x", logging.INFO, "", 0, "retried", (), None)
    with about(uid="uid-1"):
        told = json.loads(JsonLines().format(record))
    assert told["uid"] == "uid-1"
    assert "uid" not in json.loads(JsonLines().format(record))


def test_what_is_not_ready_is_said_in_words(server, told):
    told["ready"] = False
    causes = server.client.get("/readyz").json()["causes"]
    assert [cause["message"] for cause in causes] == ["the cluster is not in sight"]
