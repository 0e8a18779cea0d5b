import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cluster.simulator.hcl import parse_job
from reconciler.cluster.simulator.hcl_text import parse_duration_ns, plain
from reconciler.cluster.simulator.refusal import Refusal
from tests.real import find_nomad

TEMPLATE = Path(__file__).parents[2] / "etc" / "job.nomad"
ODD = r"""
job "odd" {
  group "g" {
    network {
      port "a" {
        to = 80
      }
      port "b" {
        static = 8080
      }
    }
    constraint {
      distinct_hosts = true
    }
    constraint {
      attribute = "${attr.x}"
      version   = ">= 1"
    }
    meta = { "a.b" = "c", d = 4, "e" = true }
    task "t" {
      driver = "docker"
      config {
        image  = "a:$${x}"
        labels = { a = "b" }
        mount {
          type = "tmpfs"
        }
        none = null
      }
      template {
        data        = "a\nb\"c\\"
        destination = "local/x"
      }
      template {
        data        = <<-EOH
          kept ${attr.x} $${b} "q" \n
            deeper
        EOH
        destination = "local/y"
      }
      env = { A = "b", "C-D" = 1 }
      resources {
        device "nvidia/gpu" {
          count = 2
          affinity {
            attribute = "${device.model}"
            value     = "Tesla K80"
            weight    = -50
          }
        }
      }
      kill_timeout = "1m30s"
    }
  }
}
"""


@pytest.fixture(scope="module")
def odd():
    return parse_job(ODD)["TaskGroups"][0]


def test_ports_are_dynamic_or_reserved(odd):
    (network,) = odd["Networks"]
    assert [(port["Label"], port["To"]) for port in network["DynamicPorts"]] == [("a", 80)]
    assert [(port["Label"], port["Value"]) for port in network["ReservedPorts"]] == [("b", 8080)]


def test_operands_may_be_arguments(odd):
    assert [(c["LTarget"], c["Operand"], c["RTarget"]) for c in odd["Constraints"]] == [
        ("", "distinct_hosts", "true"),
        ("${attr.x}", "version", ">= 1"),
    ]


def test_texts_are_what_was_written(odd):
    (task,) = odd["Tasks"]
    assert odd["Meta"] == {"a.b": "c", "d": "4", "e": "true"}
    assert task["Env"] == {"A": "b", "C-D": "1"}
    assert [template["EmbeddedTmpl"] for template in task["Templates"]] == [
        'a\nb"c\\',
        'kept ${attr.x} ${b} "q" \\n\n  deeper\n',
    ]


def test_a_drivers_blocks_and_objects_become_lists(odd):
    assert odd["Tasks"][0]["Config"] == {
        "image": "a:${x}",
        "labels": [{"a": "b"}],
        "mount": [{"type": "tmpfs"}],
    }


def test_durations_are_nanoseconds_and_devices_are_read(odd):
    (task,) = odd["Tasks"]
    (device,) = task["Resources"]["Devices"]
    assert task["KillTimeout"] == 90 * 10**9
    assert (device["Name"], device["Count"], device["Affinities"][0]["Weight"]) == (
        "nvidia/gpu",
        2,
        -50,
    )


def test_what_was_not_written_is_null(odd):
    assert odd["Count"] is None
    assert odd["Tasks"][0]["Vault"] is None


def _set_fields(value):
    """Drop what says nothing: Nomad's parser writes zeroes where ours writes null."""
    if isinstance(value, dict):
        kept = {key: _set_fields(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", 0, [], {})}
    return [_set_fields(item) for item in value] if isinstance(value, list) else value


@pytest.mark.nomad
@pytest.mark.parametrize("text", [TEMPLATE.read_text(), ODD], ids=["etc/job.nomad", "odd"])
def test_nomad_itself_reads_the_same(text, tmp_path):
    nomad = find_nomad()
    if nomad is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN")
    path = tmp_path / "job.nomad"
    path.write_text(text)
    told = subprocess.run(
        [nomad, "job", "run", "-output", str(path)], capture_output=True, check=True, text=True
    )
    real = json.loads(told.stdout)["Job"]
    assert _set_fields(parse_job(text)) == _set_fields(real)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Job spec is empty"),
        ('job "x" {', "Failed to parse job"),
        ("foo {}", 'type "foo" are not expected'),
        ('job "x" {\n foo = 1\n}', '"foo" in a job block is not known'),
        ('job "x" {\n group {}\n}', "needs one label"),
        ('job "x" {\n priority = "high"\n}', "whole number"),
        ('job "x" {\n name = upper("x")\n}', "not simulated"),
        ('variable "a" {}\njob "x" {}', "variable"),
        ('job "x" {\n name = "${var.a}"\n}', "variables are not simulated"),
        ('job "x" {}\njob "y" {}', "one job block"),
    ],
)
def test_what_is_not_read_is_refused_with_400(text, words):
    with pytest.raises(Refusal, match="400") as refused:
        parse_job(text)
    assert words in refused.value.text


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10s", 10**10),
        ("1h30m", 5400 * 10**9),
        ("250ms", 25 * 10**7),
        ("0", 0),
        ("-5s", -5 * 10**9),
    ],
)
def test_durations_are_read_as_go_reads_them(text, ns):
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "1d", "1s2", "one"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="no duration"):
        parse_duration_ns(text)


@given(st.text(st.characters(exclude_characters='"\\\n\r$%', exclude_categories=["Cs"])))
def test_a_plain_text_is_read_as_it_is(text):
    assert plain(f'"{text}"') == text
