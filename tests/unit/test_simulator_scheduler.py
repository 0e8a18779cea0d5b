import pytest

from reconciler.cluster.simulator import targets
from reconciler.cluster.simulator.canonical import canonical_job
from reconciler.cluster.simulator.room import Candidate, Load
from reconciler.cluster.simulator.scheduler import Placement, Tally, place
from tests.simulated import a_job, a_node

K80 = a_node("k80", gpus={"Tesla K80": 2})
A100 = a_node("a100", gpus={"NVIDIA A100": 2})
PLAIN = a_node("plain")
MODEL = {"LTarget": "${device.model}", "Operand": "=", "RTarget": "NVIDIA A100"}
WINDOWS = {"LTarget": "${attr.kernel.name}", "Operand": "=", "RTarget": "windows"}


def tried(nodes, *, load=None, **changed):
    job = canonical_job(a_job(**changed))
    candidates = [Candidate(item, load or Load()) for item in nodes]
    return place(job, job["TaskGroups"][0], candidates, seed=7)


def placed_on(nodes, **changed):
    outcome = tried(nodes, **changed)
    assert isinstance(outcome, Placement)
    return outcome.node["Name"]


def why_not(nodes, **changed):
    outcome = tried(nodes, **changed)
    assert isinstance(outcome, Tally)
    return {**outcome.filtered, **outcome.exhausted}


def test_a_device_is_found_where_it_is():
    assert placed_on([PLAIN, K80], gpus=1) == "k80"


def test_an_affinity_for_a_model_chooses_it_and_a_constraint_insists():
    wish = {"Affinities": [{**MODEL, "Weight": 50}]}
    assert placed_on([K80, A100], gpus=1, device_extra=wish) == "a100"
    assert placed_on([K80], gpus=1, device_extra=wish) == "k80"
    insists = {"Constraints": [MODEL]}
    assert why_not([K80], gpus=1, device_extra=insists) == {"missing devices": 1}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"gpus": 3}, {"missing devices": 1}),
        ({"gpus": 1, "device": "acme/gpu"}, {"missing devices": 1}),
        ({"task": {"Driver": "podman"}}, {"missing drivers": 1}),
        ({"Constraints": [WINDOWS]}, {"${attr.kernel.name} = windows": 1}),
        ({"memory_mb": 9000}, {"memory": 1}),
        ({"task": {"Resources": {"CPU": 20_000, "MemoryMB": 10}}}, {"cpu": 1}),
        ({"task": {"Resources": {"Cores": 5, "MemoryMB": 10}}}, {"cores": 1}),
        ({"group": {"EphemeralDisk": {"SizeMB": 60_000}}}, {"disk": 1}),
    ],
    ids=["too many", "unknown device", "driver", "constraint", "memory", "cpu", "cores", "disk"],
)
def test_what_does_not_fit_says_why_in_nomads_words(changed, why):
    assert why_not([K80], **changed) == why


def test_a_device_that_is_taken_is_exhausted_not_missing():
    first = tried([K80], gpus=1)
    taken = Load()
    taken.add(first.claim)
    assert isinstance(tried([K80], load=taken, gpus=1), Placement)
    assert why_not([K80], load=taken, gpus=2) == {"devices: no devices match request": 1}


def test_a_datacenter_that_has_no_node_evaluates_none():
    outcome = tried([PLAIN], Datacenters=["elsewhere"])
    assert (outcome.evaluated, outcome.available) == (0, {})


@pytest.mark.parametrize("wanted", ["dc1", "*", "dc*"])
def test_a_datacenter_may_be_a_pattern(wanted):
    assert placed_on([PLAIN], Datacenters=[wanted]) == "plain"


def test_work_is_packed_on_the_fuller_node():
    full = Candidate(a_node("fuller"), Load(cpu_mhz=5000, memory_mb=4000))
    job = canonical_job(a_job())
    outcome = place(job, job["TaskGroups"][0], [Candidate(PLAIN, Load()), full], seed=1)
    assert outcome.node["Name"] == "fuller"


def test_every_dynamic_port_is_another_one_and_a_static_one_collides():
    ports = [{"Label": label} for label in ("a", "b", "c")]
    network = {
        "Networks": [{"DynamicPorts": ports, "ReservedPorts": [{"Label": "s", "Value": 80}]}]
    }
    outcome = tried([PLAIN], group=network)
    values = [port["Value"] for port in outcome.allocated["Shared"]["Ports"]]
    assert len(set(values)) == 4
    assert all(20000 <= value <= 32000 for value in values if value != 80)
    taken = Load()
    taken.add(outcome.claim)
    assert why_not([PLAIN], load=taken, group=network) == {
        "network: reserved port collision s=80": 1
    }


def test_a_node_without_free_ports_says_so():
    network = {"Networks": [{"DynamicPorts": [{"Label": "a"}]}]}
    full = Load(ports=set(range(20000, 32001)))
    assert why_not([PLAIN], load=full, group=network) == {
        "network: dynamic port selection failed": 1
    }


@pytest.mark.parametrize(
    ("operand", "right", "meets"),
    [
        ("=", "1.10.2", True),
        ("!=", "1.10.2", False),
        ("version", ">= 1.9, < 2", True),
        ("version", "~> 1.10.1", True),
        ("version", "~> 1.9.1", False),
        ("semver", "> 1.10.2", False),
        ("regexp", r"^1\.", True),
        ("regexp", "(", False),
        ("set_contains", "1.10.2", True),
        ("set_contains_any", "x, 1.10.2", True),
        ("is_set", "", True),
        ("is_not_set", "", False),
        ("<", "2", True),
    ],
)
def test_operands_compare_as_nomads_do(operand, right, meets):
    constraint = {"LTarget": "${attr.v}", "Operand": operand, "RTarget": right}
    assert targets.satisfies({"attr.v": "1.10.2"}, constraint) is meets


def test_what_is_not_there_meets_nothing_but_a_difference():
    for operand, meets in {"=": False, "!=": True, "version": False, "is_not_set": True}.items():
        constraint = {"LTarget": "${attr.none}", "Operand": operand, "RTarget": "1"}
        assert targets.satisfies({}, constraint) is meets
