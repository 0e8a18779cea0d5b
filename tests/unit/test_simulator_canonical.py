from reconciler.cluster.simulator.canonical import canonical_job
from tests.simulated import SECOND, a_job


def group_of(sent):
    return canonical_job(sent)["TaskGroups"][0]


def test_what_nomad_fills_in_is_filled_in():
    job = canonical_job(a_job())
    (group,) = job["TaskGroups"]
    assert (job["Name"], job["Datacenters"], job["Priority"]) == ("job", ["*"], 50)
    assert group["RestartPolicy"]["Attempts"] == 2
    assert group["ReschedulePolicy"]["Unlimited"] is True
    assert group["Update"]["MinHealthyTime"] == 10 * SECOND
    assert group["Tasks"][0]["LogConfig"] == {
        "Disabled": False,
        "MaxFileSizeMB": 10,
        "MaxFiles": 10,
    }


def test_what_was_sent_is_left_as_it_is():
    sent = a_job(Meta={"a": "b"}, task={"Config": {"args": ["x"]}})
    job = canonical_job(sent)
    job["Meta"]["a"] = "changed"
    job["TaskGroups"][0]["Tasks"][0]["Config"]["args"].append("changed")
    assert sent == a_job(Meta={"a": "b"}, task={"Config": {"args": ["x"]}})


def test_a_canonical_job_stays_as_it_is():
    once = canonical_job(a_job(gpus=1, task={"KillSignal": "SIGTERM"}))
    del once["TaskGroups"][0]["Constraints"]  # What the signal implies is added each time.
    twice = canonical_job(once)
    assert twice["TaskGroups"][0].pop("Constraints")
    assert twice["TaskGroups"][0] == once["TaskGroups"][0]


def test_names_are_folded_and_the_last_spelling_wins():
    job = canonical_job({"id": "x", "meta": {"a": "1"}, "Meta": {"b": "2"}, "Unknown": 1})
    assert (job["ID"], job["Meta"], "Unknown" in job) == ("x", {"b": "2"}, False)


def test_empty_lists_and_maps_become_null():
    job = canonical_job(a_job(Meta={}, Constraints=[], task={"Env": {}, "Templates": []}))
    task = job["TaskGroups"][0]["Tasks"][0]
    assert (job["Meta"], job["Constraints"], task["Env"], task["Templates"]) == (None,) * 4


def test_cores_leave_no_cpu():
    group = group_of(a_job(task={"Resources": {"Cores": 2, "MemoryMB": 10}}))
    assert group["Tasks"][0]["Resources"]["CPU"] == 0


def test_a_batch_job_has_its_own_defaults():
    group = group_of(a_job(Type="batch"))
    assert (group["Update"], group["Migrate"]) == (None, None)
    assert group["RestartPolicy"]["Attempts"] == 3
    assert group["ReschedulePolicy"]["Unlimited"] is False


def test_what_the_job_says_of_updates_and_reschedules_goes_into_its_groups():
    job = canonical_job(
        a_job(Update={"MinHealthyTime": 5, "MaxParallel": 3}, Reschedule={"Delay": 7})
    )
    (group,) = job["TaskGroups"]
    assert (group["Update"]["MinHealthyTime"], group["ReschedulePolicy"]["Delay"]) == (5, 7)
    assert (job["Update"]["MinHealthyTime"], job["Update"]["MaxParallel"]) == (0, 3)
    assert "Reschedule" not in job


def test_nomads_own_services_and_signals_are_constraints():
    service = {"Name": "x", "Provider": "nomad", "Checks": [{"Type": "http"}]}
    group = group_of(a_job(group={"Services": [service]}, task={"KillSignal": "SIGTERM"}))
    assert [item["LTarget"] for item in group["Constraints"]] == [
        "${attr.os.signals}",
        "${attr.nomad.service_discovery}",
        "${attr.nomad.version}",
    ]
