"""The texts are those of a real Nomad 2.0, byte for byte."""

import pytest

from reconciler.cluster.simulator.canonical import canonical_job
from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.rules import job_faults, told, warnings
from tests.simulated import a_job

GROUP = "1 error occurred:\n\t* Task group g validation failed: 1 error occurred:\n\t* "
TASK = GROUP + "Task t validation failed: 1 error occurred:\n\t* "
RESOURCES = TASK + "1 error occurred:\n\t* "


def job_of(**changed):
    return canonical_job(a_job(**changed))


CASES = {
    "space": (job_of(job_id="a b"), "1 error occurred:\n\t* Job ID contains a space\n\n"),
    "empty": (job_of(job_id=""), None),
    "priority": (
        job_of(Priority=500),
        "1 error occurred:\n\t* job priority must be between [1, 100]\n\n",
    ),
    "type": (job_of(Type="foo"), '1 error occurred:\n\t* Invalid job type: "foo"\n\n'),
    "no groups": (
        job_of(TaskGroups=[]),
        "1 error occurred:\n\t* Missing job task groups\n\n",
    ),
    "two faults": (
        job_of(job_id="a b", Priority=500),
        (
            "2 errors occurred:\n\t* Job ID contains a space\n"
            "\t* job priority must be between [1, 100]\n\n"
        ),
    ),
    "negative count": (
        job_of(count=-1),
        GROUP + "Task group count can't be negative\n\n\n\n",
    ),
    "disk below the logs": (
        job_of(group={"EphemeralDisk": {"SizeMB": 50}}),
        RESOURCES + "log storage (100 MB) must be less than requested disk capacity (50 MB)"
        "\n\n\n\n\n\n\n\n",
    ),
    "memory": (
        job_of(memory_mb=1),
        RESOURCES + "1 error occurred:\n\t* minimum MemoryMB value is 10; got 1"
        "\n\n\n\n\n\n\n\n\n\n",
    ),
    "negative cores": (
        job_of(task={"Resources": {"Cores": -1, "MemoryMB": 100}}),
        RESOURCES + "cores value (-1) cannot be negative\n\n\n\n\n\n\n\n",
    ),
    "driver": (job_of(task={"Driver": ""}), TASK + "Missing task driver\n\n\n\n\n\n"),
    "port twice": (
        job_of(group={"Networks": [{"DynamicPorts": [{"Label": "a"}, {"Label": "a"}]}]}),
        GROUP + "Task group network validation failed: 1 error occurred:\n"
        "\t* Port label a already in use by taskgroup network\n\n\n\n\n\n",
    ),
    "template escapes": (
        job_of(task={"Templates": [{"EmbeddedTmpl": "x", "DestPath": "../../x"}]}),
        TASK + "Template 1 validation failed: 1 error occurred:\n"
        "\t* destination escapes allocation directory\n\n\n\n\n\n\n\n",
    ),
    "affinity without weight": (
        job_of(Affinities=[{"LTarget": "${attr.a}", "Operand": "=", "RTarget": "x", "Weight": 0}]),
        (
            "1 error occurred:\n\t* Affinity 1 validation failed: 1 error occurred:\n"
            "\t* Affinity weight cannot be zero\n\n\n\n"
        ),
    ),
}


@pytest.mark.parametrize(("job", "text"), CASES.values(), ids=CASES)
def test_a_bad_job_is_refused_in_nomads_words(job, text):
    faults = job_faults(job)
    assert faults
    assert text is None or told(faults) == text


def test_a_good_job_has_no_faults():
    assert (
        job_faults(job_of(gpus=1, group={"Networks": [{"DynamicPorts": [{"Label": "a"}]}]})) == []
    )


def test_services_without_a_shutdown_delay_are_warned_about():
    service = {"Name": "x", "Provider": "nomad"}
    assert 'group "g" defines services' in warnings(job_of(group={"Services": [service]}))
    assert warnings(job_of()) == ""


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        (
            {"CPU": "5"},
            (
                "json: cannot unmarshal string into Go struct field"
                " Resources.Job.TaskGroups.Tasks.Resources.CPU of type int"
            ),
        ),
        (
            {"CPU": 2**63},
            (
                "json: cannot unmarshal number 9223372036854775808 into Go struct field"
                " Resources.Job.TaskGroups.Tasks.Resources.CPU of type int"
            ),
        ),
        (
            {"Devices": [{"Name": "gpu", "Count": -1}]},
            (
                "json: cannot unmarshal number -1 into Go struct field"
                " RequestedDevice.Job.TaskGroups.Tasks.Resources.Devices.Count of type uint64"
            ),
        ),
    ],
)
def test_a_wrong_type_is_refused_in_gos_words(resources, text):
    with pytest.raises(Refusal) as refused:
        job_of(task={"Resources": resources})
    assert (refused.value.status, refused.value.text) == (400, text)
