"""How values reach a task, where it is found, and what is told of it: asserted alike on a real
Nomad and on the simulator."""

import pytest

from reconciler.errors import JobConflict, JobRejected
from reconciler.jobs import Evaluation
from tests.contract.doors import (
    NO_SUCH_DEVICE,
    Case,
    group_of,
    ref_of,
    task_of,
    watching,
)

TEMPLATE = """{{ with nomadVar (print "nomad/jobs/" (env "NOMAD_JOB_ID")) }}\
{{ range .Tuples }}{{ .K }}={{ .V | toJSON }}
{{ end }}{{ end }}"""
NASTY = {"password": "\"${attr.x} %{if} {{ x }} $HOME'", "two_lines": "a\nb"}


def _with_template(case: Case):
    job = case.a_job()
    task_of(job)["Templates"] = [
        {
            "EmbeddedTmpl": TEMPLATE,
            "DestPath": "secrets/ai4papi.env",
            "Envvars": True,
            "ChangeMode": "restart",
            "Splay": 0,
            # By default Nomad lets five seconds pass to see whether more changes.
            "Wait": {"Min": 10_000_000, "Max": 100_000_000},
        }
    ]
    return job


def test_a_variable_keeps_what_was_typed(case: Case):
    """What a person typed comes back byte for byte."""
    ref = ref_of(case.a_job())
    index = case.cluster.put_variable(ref, NASTY, if_index=0)
    assert case.cluster.read_variable(ref) == (NASTY, index)


def test_a_variable_is_written_only_at_the_index_that_was_read(case: Case):
    """`PUT /v1/var/<path>?cas=N` is a compare-and-set."""
    ref = ref_of(case.a_job())
    index = case.cluster.put_variable(ref, {"a": "first"}, if_index=0)
    for stale in (0, index - 1, index + 1):
        with pytest.raises(JobConflict) as refused:
            case.cluster.put_variable(ref, {"a": "late"}, if_index=stale)
        assert "first" not in str(refused.value)
    newer = case.cluster.put_variable(ref, {"a": "second"}, if_index=index)
    assert newer > index
    assert case.cluster.read_variable(ref) == ({"a": "second"}, newer)


def test_a_removed_variable_is_absent_and_may_be_removed_again(case: Case):
    """Delete the Variable after the purge; a crash may do it twice."""
    ref = ref_of(case.a_job())
    case.cluster.put_variable(ref, {"a": "b"}, if_index=0)
    case.cluster.delete_variable(ref)
    case.cluster.delete_variable(ref)
    assert case.cluster.read_variable(ref) is None


def test_a_task_waits_for_its_variable_and_restarts_when_it_changes(case: Case):
    """Where it is missing, the task stays pending with `Missing: nomad.var.block(nomad/jobs/…)`;
    a changed Variable restarts the task with `change_mode = "restart"`."""
    job = _with_template(case)

    def says_what_it_misses():
        waiting = case.allocation(job, "pending")
        events = [e.message for task in waiting.tasks for e in task.events] if waiting else []
        return any("Missing: nomad.var.block(nomad/jobs/" in message for message in events)

    def restarted():
        running = case.allocation(job, "running")
        return running and any(task.restarts for task in running.tasks)

    with watching(case.cluster) as watch:
        case.register(job)
        watch.until(says_what_it_misses)
        index = case.cluster.put_variable(ref_of(job), NASTY, if_index=0)
        watch.until(lambda: case.allocation(job, "running"))
        assert not restarted()
        case.cluster.put_variable(ref_of(job), {"a": "2"}, if_index=index)
        assert watch.until(restarted)


def test_dynamic_ports_are_where_the_allocation_says(case: Case):
    """Group network with dynamic ports: `HostIP:Value` of `AllocatedResources.Shared.Ports`."""
    job = case.a_job(ports=("deepaas", "monitor", "lab"))
    with watching(case.cluster) as watch:
        case.register(job)
        ports = watch.until(lambda: case.allocation(job, "running")).ports
    assert set(ports) == {"deepaas", "monitor", "lab"}
    assert all(host and 1024 < port < 65536 for host, port in ports.values())
    assert len({port for _, port in ports.values()}) == 3


def test_nomads_own_service_needs_no_consul(case: Case):
    """`service { provider = "nomad" }` needs no Consul."""
    job = case.a_job(ports=("deepaas",))
    group_of(job)["Services"] = [{"Name": "deepaas", "PortLabel": "deepaas", "Provider": "nomad"}]
    with watching(case.cluster) as watch:
        case.register(job)
        assert watch.until(lambda: case.allocation(job, "running"))


def test_a_changed_ui_description_leaves_the_allocation(case: Case):
    """`ui { description }` changed on a running job: `InPlaceUpdate`, the allocation stays."""
    job, index, old = case.running(UI={"Description": "before"})
    job["UI"] = {"Description": "after"}
    assert case.cluster.plan_job(job).effect == "in place"
    with watching(case.cluster) as watch:
        written = case.register(job, if_index=index)
        watch.change(Evaluation, lambda e: (e.id, e.status) == (written.eval_id, "complete"))
    assert [(a.id, a.client_status) for a in case.allocations(job)] == [(old.id, "running")]
    assert case.read(job)["UI"]["Description"] == "after"


def test_the_evaluation_is_where_the_truth_is(case: Case):
    """A device that no node has: evaluation `complete` with `BlockedEval` and `FailedTGAllocs`;
    the job's status is `pending` or `running` all the same."""
    job = case.a_job(device=NO_SUCH_DEVICE)
    with watching(case.cluster) as watch:
        written = case.register(job)
        done = watch.change(Evaluation, lambda e: (e.id, e.status) == (written.eval_id, "complete"))
        blocked = watch.until(lambda: case.blocked(job))
    assert done.blocked_eval == blocked.id
    for evaluation in (done, blocked):
        (failure,) = evaluation.failures
        assert failure.group == "usergroup"
        assert dict(failure.constraint_filtered) == {"missing devices": 1}
        assert (failure.nodes_evaluated, failure.nodes_filtered) == (1, 1)
    assert case.read(job)["Status"] in {"pending", "running"}
    assert case.allocations(job) == []


def test_what_was_placed_after_all_is_not_listed_as_waiting(case: Case):
    """Evaluations that once could not place go on saying so; the list leaves them out."""
    job = case.a_job(device=NO_SUCH_DEVICE)
    with watching(case.cluster) as watch:
        stuck = case.register(job).index
        watch.until(lambda: case.blocked(job))
        task_of(job)["Resources"].pop("Devices")
        case.register(job, if_index=stuck)
        watch.until(lambda: case.allocation(job, "running"))
        watch.until(lambda: case.blocked(job) is None)
    waiting = [e for e in case.cluster.list_evaluations().items if e.ref == ref_of(job)]
    assert [e for e in waiting if e.failures] == []


# The template

HCL = """
job "x" {
  group "g" {
    count = 2
    task "t" {
      driver = "docker"
    }
  }
}
"""


def test_a_template_is_parsed_and_a_broken_one_says_where(case: Case):
    """Parsing turns HCL into Nomad's job JSON, and errors name the place."""
    job = case.cluster.parse_job(HCL)
    assert (job["ID"], job["TaskGroups"][0]["Count"], task_of(job)["Driver"]) == ("x", 2, "docker")
    with pytest.raises(JobRejected):
        case.cluster.parse_job('job "x" {')


def test_the_cluster_says_what_it_is(case: Case):
    """`title` names the address or says that it is simulated."""
    case.cluster.list_jobs()
    title = case.cluster.title
    assert title.startswith("Nomad ") if case.door.address else "simulated" in title
    assert case.door.address in title
