"""Whatever is asked of it, the pretend Nomad keeps its books: tried with random histories."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.room import Load, claim_of
from tests.simulated import Pretend, a_job, a_node

PORTS = {"Networks": [{"DynamicPorts": [{"Label": "a"}, {"Label": "b"}]}]}
JOBS = st.sampled_from(["x", "y", "z"])
STEPS = st.one_of(
    st.tuples(
        st.just("register"),
        JOBS,
        st.integers(0, 3),
        st.sampled_from([300, 2000, 5000]),
        st.integers(0, 2),
    ),
    st.tuples(st.just("stop"), JOBS, st.booleans()),
    st.tuples(st.just("move"), st.sampled_from([0.1, 5, 40, 700])),
    st.tuples(st.sampled_from(["drain", "lose", "return"]), st.integers(0, 1)),
    st.tuples(st.sampled_from(["fail", "end"]), st.integers(0, 9)),
)


def carry_out(pretend, nodes, step):
    nomad = pretend.nomad
    match step:
        case ("register", name, count, memory_mb, gpus):
            pretend.register(a_job(name, count=count, memory_mb=memory_mb, gpus=gpus, group=PORTS))
        case ("stop", name, purge):
            nomad.deregister(("default", name), purge=purge)
        case ("move", seconds):
            pretend.move(seconds)
        case ("drain", number):
            nomad.machines.drain_node(nodes[number]["ID"])
        case ("lose", number):
            nomad.machines.lose_node(nodes[number]["ID"])
        case ("return", number):
            nomad.machines.return_node(nodes[number]["ID"])
        case ("fail" | "end", number):
            live = [item for name in "xyz" for item in pretend.live(name)]
            if live:
                ends = {
                    "fail": nomad.machines.fail_allocation,
                    "end": nomad.machines.stop_allocation,
                }
                ends[step[0]](live[number % len(live)]["ID"])


def check_books(world):
    claimed = {node_id: Load() for node_id in world.nodes}
    for alloc_id, allocation in world.allocs.items():
        alive = allocation["DesiredStatus"] == "run" and allocation["ClientStatus"] in {
            "pending",
            "running",
        }
        assert alive is (alloc_id in world.claims)
        if alive:
            claim = claim_of(allocation["AllocatedResources"])
            load = claimed[allocation["NodeID"]]
            assert not claim.ports & load.ports
            assert not claim.devices & load.devices
            load.add(claim)
    assert claimed == world.loads
    for node_id, load in claimed.items():
        resources = world.nodes[node_id]["NodeResources"]
        assert load.cpu_mhz <= resources["Cpu"]["CpuShares"]
        assert load.memory_mb <= resources["Memory"]["MemoryMB"]
        assert load.disk_mb <= resources["Disk"]["DiskMB"]


def check_jobs(world):
    for key, job in world.jobs.items():
        wanted = 0 if job["Stop"] else job["TaskGroups"][0]["Count"]
        mine = [world.allocs[alloc_id] for alloc_id in world.allocs_of.get(key, ())]
        names = Counter(item["Name"] for item in mine if item["ID"] in world.claims)
        assert len(names) <= wanted
        assert not any(count > 1 for count in names.values())
        evaluations = [world.evals[eval_id] for eval_id in world.evals_of[key]]
        waiting = [item for item in evaluations if item["Status"] == "blocked"]
        assert len(waiting) <= 1
        again = any(item["Status"] == "pending" for item in evaluations)
        rollouts = [world.rollouts[item] for item in world.rollouts_of.get(key, ())]
        rolling = any(item["Status"] == "running" for item in rollouts)
        assert len(names) == wanted or waiting or again or rolling


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_no_node_is_overfull_and_every_job_runs_or_says_what_it_waits_for(steps):
    nodes = [a_node("one", gpus={"Tesla K80": 2}), a_node("two", gpus={"NVIDIA A100": 1})]
    pretend = Pretend(nodes)
    for step in steps:
        carry_out(pretend, nodes, step)
        with pretend.nomad.reading() as world:
            check_books(world)
            check_jobs(world)


@settings(max_examples=15, deadline=None)
@given(st.lists(STEPS, max_size=15))
def test_the_same_history_gives_the_same_world(steps):
    worlds = []
    for _ in range(2):
        nodes = [a_node("one", gpus={"Tesla K80": 2}), a_node("two")]
        pretend = Pretend(nodes)
        for step in steps:
            carry_out(pretend, nodes, step)
        with pretend.nomad.reading() as world:
            worlds.append((world.index, world.jobs, world.allocs, world.evals, list(world.ring)))
    assert worlds[0] == worlds[1]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KNOWN = st.sampled_from(
    ["ID", "Count", "Meta", "Type", "Priority", "Update", "Tasks", "Constraints"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(KNOWN, JUNK, max_size=4),
    st.dictionaries(KNOWN, JUNK, max_size=4),
    st.dictionaries(st.sampled_from(["Resources", "Env", "Config", "Driver", "Templates"]), JUNK),
)
def test_nothing_that_is_sent_breaks_it(top, group, task):
    pretend = Pretend()
    with suppress(Refusal):
        pretend.register({**a_job(group=group, task=task), **top})
    pretend.move(1)


def test_a_broken_book_would_be_noticed():
    pretend = Pretend()
    pretend.running(a_job())
    with pretend.nomad.reading() as world:
        world.claims.clear()
        with pytest.raises(AssertionError):
            check_books(world)
