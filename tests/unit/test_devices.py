"""GPUs by model: what the nodes have, less what is held."""

from dataclasses import replace

import pytest

from reconciler.devices import GpuModel
from reconciler.errors import ClusterUnavailable
from reconciler.jobs import Changes, JobRef
from reconciler.mirror import Mirror
from tests.builders import REF, a_job, a_node, an_allocation
from tests.unit.test_mirror import listed

T4, A100 = "nvidia/gpu/Tesla T4", "nvidia/gpu/NVIDIA A100"
NODES = (
    a_node(devices={T4: 4, A100: 2, "xilinx/fpga/U55C": 1}),
    a_node(id="n2", devices={T4: 2}),
)
FOREIGN = JobRef("ai4eosc", "somebody-elses")


def holding(name: str, count: int, status: str = "running", **changes):
    return an_allocation(status, id=name, devices={T4: count}, **changes)


def mirrored(*allocations, nodes=NODES) -> Mirror:
    mirror = Mirror()
    mirror.replace(listed(a_job(10), allocations=allocations, nodes=nodes), known_index=0)
    return mirror


def free_of(mirror: Mirror, model: str = "Tesla T4") -> int:
    return next(found.free for found in mirror.gpu_models("nvidia/gpu") if found.model == model)


def test_models_are_summed_over_nodes_and_what_is_held_is_not_free():
    mirror = mirrored(holding("a", 1), holding("b", 2, ref=FOREIGN), holding("c", 1, node_id="n2"))
    assert mirror.gpu_models("nvidia/gpu") == [
        GpuModel("NVIDIA A100", 2, 2),
        GpuModel("Tesla T4", 6, 2),
    ]


@pytest.mark.parametrize(
    ("device", "models"),
    [
        ("gpu", ["NVIDIA A100", "Tesla T4"]),
        ("nvidia/gpu", ["NVIDIA A100", "Tesla T4"]),
        (T4, ["Tesla T4"]),
        ("fpga", ["U55C"]),
        ("amd/gpu", []),
        ("nvidia", []),
    ],
)
def test_only_what_the_site_asks_for_as_gpu_is_one(device, models):
    assert [found.model for found in mirrored().gpu_models(device)] == models


def test_an_end_gives_back_and_a_start_takes():
    mirror = mirrored(holding("a", 1))
    assert free_of(mirror) == 5
    mirror.apply(Changes(12, (holding("b", 2, "pending", ref=FOREIGN, modify_index=12),)))
    assert free_of(mirror) == 3
    mirror.apply(Changes(13, (holding("b", 2, "complete", ref=FOREIGN, modify_index=13),)))
    assert free_of(mirror) == 5
    mirror.apply(Changes(14, (holding("a", 1, "lost", ref=REF, modify_index=14),)))
    assert free_of(mirror) == 6


def test_a_list_is_the_truth():
    mirror = mirrored(holding("a", 1))
    mirror.replace(listed(a_job(10), nodes=NODES), known_index=0)
    assert free_of(mirror) == 6


def test_a_node_that_takes_no_work_has_nothing_free_and_one_that_is_away_has_nothing():
    first, second = NODES
    drained = mirrored(nodes=(replace(first, eligible=False), second))
    assert drained.gpu_models(T4) == [GpuModel("Tesla T4", 6, 2)]
    away = mirrored(nodes=(replace(first, status="down"), second))
    assert away.gpu_models(T4) == [GpuModel("Tesla T4", 2, 2)]


def test_no_more_is_held_than_there_is():
    assert free_of(mirrored(holding("a", 9))) == 2


def test_without_a_connection_nobody_says_what_is_free():
    mirror = mirrored()
    mirror.lose("stream ended")
    with pytest.raises(ClusterUnavailable):
        mirror.gpu_models("gpu")
