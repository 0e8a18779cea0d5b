import pytest

from reconciler.diff import FieldChange, diff_job


@pytest.mark.parametrize(
    ("wanted", "actual"),
    [
        ({"Priority": 50}, {"Priority": 50, "Region": "global"}),
        ({"Region": None}, {"Region": "global"}),
        ({"NodePool": ""}, {"NodePool": "default"}),
        ({"Constraints": []}, {"Constraints": None}),
        ({"Meta": {"a": "1"}}, {"Meta": {"a": "1", "b": "2"}}),
        ({"Status": "", "Version": 0}, {"Status": "running", "Version": 3}),
        ({"TaskGroups": [{"Name": "g", "Count": 1}]}, {"TaskGroups": [{"Name": "g", "Count": 1}]}),
    ],
)
def test_what_nomad_fills_in_is_no_difference(wanted, actual):
    assert diff_job(wanted, actual) == ()


def test_a_changed_field_is_named_with_both_values():
    wanted = {"TaskGroups": [{"Name": "usergroup", "Count": 1}]}
    actual = {"TaskGroups": [{"Name": "usergroup", "Count": 3}]}
    assert diff_job(wanted, actual) == (FieldChange("TaskGroups[usergroup].Count", 1, 3),)


def test_named_entries_are_matched_by_name_not_by_position():
    wanted = {"Ports": [{"Label": "a", "To": 1}, {"Label": "b", "To": 2}]}
    actual = {"Ports": [{"Label": "b", "To": 2}, {"Label": "a", "To": 1}]}
    assert diff_job(wanted, actual) == ()


def test_an_entry_that_somebody_added_is_a_difference():
    wanted = {"Tasks": [{"Name": "a"}]}
    actual = {"Tasks": [{"Name": "a"}, {"Name": "miner"}]}
    assert diff_job(wanted, actual) == (FieldChange("Tasks", ["a"], ["a", "miner"]),)


def test_a_value_that_was_emptied_by_hand_is_a_difference():
    assert diff_job({"Meta": {"owner": "alice"}}, {"Meta": None}) == (
        FieldChange("Meta.owner", "alice", None),
    )


def test_a_value_set_by_hand_where_ours_is_empty_is_a_difference_in_our_own_maps():
    assert diff_job({"Env": {"USER": ""}}, {"Env": {"USER": "mallory"}}) == (
        FieldChange("Env.USER", "", "mallory"),
    )
