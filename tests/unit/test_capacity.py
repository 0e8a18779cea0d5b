"""How full the nodes are."""

from reconciler.capacity import rooms_of
from reconciler.cluster.protocol import Listing
from reconciler.jobs import Allocation, Job, Node
from reconciler.mirror import Mirror, Snapshot
from reconciler.queue import QueueState
from reconciler.state import loop_state
from tests.builders import REF

GPU = {"nvidia/gpu/A100": 2, "intel/fpga/X": 4}


def a_node(name, **changes):
    known = {"cpu_mhz": 4000, "memory_mb": 8000, "devices": GPU}
    return Node(f"id-{name}", name, "ready", eligible=True, modify_index=1, **(known | changes))


def placed(number, node, *, status="running", **changes):
    return Allocation(
        id=f"alloc-{number}",
        ref=REF,
        job_version=0,
        create_index=number,
        modify_index=number,
        client_status=status,
        desired_status="run",
        node_id=f"id-{node}",
        node_name=node,
        **({"cpu_mhz": 1000, "memory_mb": 2000} | changes),
    )


def test_each_node_has_what_its_live_allocations_take():
    allocations = [placed(1, "b"), placed(2, "b"), placed(3, "b", status="failed"), placed(4, "c")]
    rooms = rooms_of([a_node("b"), a_node("a")], allocations, {"id-b": 1}, "gpu")
    assert [room.name for room in rooms] == ["a", "b"]
    empty, full = rooms
    assert (empty.cpu_taken_mhz, empty.gpus, empty.gpus_taken, empty.allocations) == (0, 2, 0, 0)
    assert (full.cpu_taken_mhz, full.memory_taken_mb) == (2000, 4000)
    assert (full.gpus, full.gpus_taken, full.allocations) == (2, 1, 2)


def test_the_mirror_knows_the_rooms_and_the_state_of_the_loop():
    mirror = Mirror()
    queue = QueueState(waiting=1, working=2, delayed=3, oldest_s=4.0)
    state = loop_state([("default", mirror, queue)], ["stuck"])
    assert (state.connected, bool(state.trouble), state.lag_s) == (False, True, 4.0)
    job = Job(REF, 1, 1, False, "running", meta={})
    held = placed(2, "a", devices={"nvidia/gpu/A100": 1})
    lists = [[job], [held], [], [], [a_node("a")]]
    mirror.replace(Snapshot(*(Listing(5, tuple(items)) for items in lists)), known_index=0)
    (room,) = mirror.rooms("gpu")
    assert (room.gpus, room.gpus_taken, room.memory_taken_mb) == (2, 1, 2000)
    state = loop_state([("default", mirror, queue)], ())
    assert (state.connected, state.trouble, state.heard_index) == (True, "", 5)
