"""What is counted, and under which few labels."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.errors import ClusterForbidden, ClusterUnavailable, JobConflict
from reconciler.measures import Measures, nomad_kind, stages_reached
from reconciler.phase import Look
from reconciler.steps import Plan, RegisterJob
from specs.model import Applied, Condition, DeploymentStatus, Event
from tests.builders import a_deployment

AT = datetime(2026, 1, 1, tzinfo=UTC)


def value(measures, name, **labels):
    return measures.registry.get_sample_value(f"ai4papi_{name}", labels)


def end(error):
    if error is not None:
        raise error


def applied(generation):
    return Applied(generation, 0, "digest", 7, {})


def status(**changes):
    return DeploymentStatus(observed_at=AT, **changes)


def test_a_wish_is_registered_and_ready_once_each():
    wish = replace(a_deployment(), generation=2, applied=applied(1))
    registering = Look(applied=applied(2), plan=Plan("create", (RegisterJob({}, 0),)))
    assert stages_reached(wish, registering, status()) == ["registered"]
    known = replace(wish, applied=applied(2))
    assert stages_reached(known, registering, status(ready_generation=2)) == ["ready"]
    done = replace(known, status=status(ready_generation=2))
    assert stages_reached(done, registering, status(ready_generation=2)) == []


def test_a_failed_register_is_not_registered():
    wish = replace(a_deployment(), applied=None)
    look = Look(applied=applied(1), error=ClusterUnavailable("gone"))
    assert stages_reached(wish, look, status()) == []


def test_convergence_counts_from_the_wish():
    measures = Measures()
    wish = replace(a_deployment(), generation=1, applied=None)
    look = Look(applied=applied(1), plan=Plan("create", (RegisterJob({}, 0),)))
    measures.looked(wish, look, status(), (), taken=lambda _: AT - timedelta(seconds=40))
    assert value(measures, "convergence_seconds_sum", stage="registered") == 40
    assert value(measures, "convergence_seconds_count", stage="ready") == 0
    assert value(measures, "actions_total", action="RegisterJob") == 1


def test_drift_counts_by_what_was_done():
    measures = Measures()
    told = (Event("DriftRepaired", "x"), Event("DriftReported", "x"), Event("Exited", "x"))
    measures.looked(a_deployment(), Look(), status(), told, taken=lambda _: None)
    assert value(measures, "drift_total", handled="repaired") == 1
    assert value(measures, "drift_total", handled="reported") == 1


def test_a_hold_counts_when_it_begins():
    measures = Measures()
    held = Condition(type="Held", status="True", reason="WouldNotPlace", last_transition_time=AT)
    after = status(conditions=(held,))
    measures.looked(a_deployment(), Look(), after, (), taken=lambda _: None)
    holding = replace(a_deployment(), status=after)
    measures.looked(holding, Look(), after, (), taken=lambda _: None)
    assert value(measures, "holds_total", reason="WouldNotPlace") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (JobConflict("moved"), "conflict"),
        (ClusterUnavailable("gone"), "unavailable"),
        (ClusterForbidden("no"), "forbidden"),
        (ValueError("a bug"), "failed"),
    ],
)
def test_looks_count_by_how_they_ended(error, outcome):
    measures = Measures()
    expected = pytest.raises(type(error)) if error else nullcontext()
    with expected, measures.look("uid"):
        end(error)
    assert value(measures, "looks_total", outcome=outcome) == 1
    assert value(measures, "look_duration_seconds_count") == 1


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/jobs?namespace=x", "jobs"),
        ("/v1/job/3b0c/plan", "job"),
        ("/v1/var/nomad/jobs/x", "var"),
        ("/v1/of-a-user", "other"),
        ("/", "other"),
        ("", "other"),
    ],
)
def test_nomads_paths_have_few_kinds(path, kind):
    assert nomad_kind(path) == kind


def test_a_made_up_method_is_no_label():
    measures = Measures()
    measures.answered("BREW", "unmatched", 405, 0.001)
    assert value(
        measures, "http_requests_total", method="other", operation="unmatched", status="405"
    )


def test_two_processes_worth_of_measures_share_nothing():
    one, other = Measures(), Measures()
    one.stored("write", 0.1, True)
    assert value(one, "store_errors_total", kind="write") == 1
    assert value(other, "store_errors_total", kind="write") == 0
