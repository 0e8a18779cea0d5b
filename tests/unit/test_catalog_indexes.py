"""Both forms of lists, and what stands in them that must not be believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.catalog.indexes import (
    RAW,
    BadIndex,
    Entry,
    raw_urls,
    read_gitmodules,
    read_modules_yml,
    template_fault,
)
from specs.userconf import is_module

GITMODULES = """\
# kept by the team
[submodule "plants"]
\tpath = plants
\turl = https://github.com/team/plants.git
\tbranch = main
[submodule "noise"]
    path = noise
    url = https://github.com/team/noise/
    branch = .
[submodule "ships"]
\turl = "git@git.example.org:lab/group/ships.git"
\tbranch = release/2.x
"""


def test_the_early_form_lists_addresses_with_a_key_or_without():
    text = (
        "---\n- module: https://github.com/team/Plants_TF\n- https://github.com/team/noise.git/\n"
    )
    assert read_modules_yml(text).entries == [
        Entry("Plants_TF", "github.com", "team/Plants_TF"),
        Entry("noise", "github.com", "team/noise"),
    ]


def test_todays_form_names_branches():
    index = read_gitmodules(GITMODULES)
    assert index.entries == [
        Entry("noise", "github.com", "team/noise"),
        Entry("plants", "github.com", "team/plants", "main"),
        Entry("ships", "git.example.org", "lab/group/ships", "release/2.x"),
    ]
    assert index.unnamed == ()


def test_the_order_of_a_list_changes_nothing():
    lines = [f"- https://github.com/{org}/{n}\n" for n in ("b", "a", "c") for org in ("x", "y")]
    assert read_modules_yml("".join(lines)) == read_modules_yml("".join(reversed(lines)))


def test_the_same_repository_twice_is_once_and_two_of_one_name_are_told():
    one = "- https://github.com/team/a\n"
    assert not read_modules_yml(one + one).entries[0].fault
    entry = read_modules_yml(one + "- https://github.com/other/a\n").entries[0]
    assert (entry.name, entry.path) == ("a", "")
    assert "two different repositories" in entry.fault


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://github.com/team/a", "its address is none of"),
        ("https://user:secret@github.com/team/a", "its address is none of"),
        ("https://github.com/team/a?x=1", "its address is none of"),
        ("../team/a", "its address is none of"),
        ("/etc/a", "its address is none of"),
        ("https:///team/a", "its address is none of"),
        ("https://github.com/a", "is no path of a repository"),
        ("https://github.com/../a", "is no path of a repository"),
        ("https://github.com/team/../../a", "is no path of a repository"),
        ("https://github.com/te%2e%2e/a", "is no path of a repository"),
        ("https://github.com/te am/a", "is no path of a repository"),
        ("https://github.com/{branch}/a", "is no path of a repository"),
    ],
)
def test_c20_a_bad_address_is_the_fault_of_its_module(address, said):
    index = read_modules_yml(f"- module: '{address}'\n- https://github.com/team/good\n")
    bad, good = index.entries
    assert (bad.name, good.fault) == ("a", "")
    assert said in bad.fault
    assert "secret" not in bad.fault


@pytest.mark.parametrize(
    "item", ["5", "null", "[a]", "{name: x}", "{module: 5}", "https://github.com/team/..", "''"]
)
def test_c20_what_names_no_module_is_told_and_not_listed(item):
    index = read_modules_yml(f"- {item}\n- https://github.com/team/good\n")
    assert [entry.name for entry in index.entries] == ["good"]
    assert index.unnamed[0].startswith("entry 1: ")


@pytest.mark.parametrize(
    "branch", ["-x", "../x", "a..b", "a b", "a/.b", "a.lock", "x" * 300, "%2e"]
)
def test_a_bad_branch_is_the_fault_of_its_module(branch):
    text = f'[submodule "a"]\nurl = https://github.com/team/a\nbranch = {branch}\n'
    assert "is no name of a branch" in read_gitmodules(text).entries[0].fault


@pytest.mark.parametrize("odd", ["<<<<<<< HEAD", "[core]", "url", "[submodule plain]", "= x"])
def test_an_odd_line_of_todays_form_is_told_and_costs_no_other_module(odd):
    index = read_gitmodules(GITMODULES + odd + "\nurl = https://evil.net/team/evil\n")
    assert {entry.name for entry in index.entries} == {"noise", "plants", "ships"}
    assert index.unnamed[0].startswith("line 13: ")


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "<html><body>Sign in</body></html>", "{}", "[]", "a: b", "- [", "5"]
)
def test_what_is_no_list_leaves_what_is_known(text):
    with pytest.raises(BadIndex):
        read_modules_yml(text)
    with pytest.raises(BadIndex):
        read_gitmodules(text)


def test_a_list_has_a_longest_length():
    line = "- https://github.com/team/m{}\n"
    with pytest.raises(BadIndex, match="more than 5,000"):
        read_modules_yml("".join(line.format(n) for n in range(5_001)))
    assert len(read_modules_yml("".join(line.format(n) for n in range(5_000))).entries) == 5_000


@given(st.text(max_size=300))
def test_any_text_is_a_list_of_modules_or_none(text):
    for read in (read_modules_yml, read_gitmodules):
        try:
            entries = read(text).entries
        except BadIndex:
            continue
        assert all(is_module(entry.name) for entry in entries)


def test_files_are_had_from_where_the_repository_lies():
    named = Entry("a", "github.com", "team/a", "release/2")
    assert raw_urls(named, "metadata.json", RAW) == [
        ("release/2", "https://raw.githubusercontent.com/team/a/release/2/metadata.json")
    ]
    unnamed = Entry("a", "gitlab.com", "lab/group/a")
    assert [branch for branch, _ in raw_urls(unnamed, "x.yml", RAW)] == ["main", "master"]
    assert raw_urls(unnamed, "x.yml", RAW)[0][1] == (
        "https://gitlab.com/lab/group/a/-/raw/main/x.yml"
    )
    with pytest.raises(ValueError, match=r"exchange\.raw"):
        raw_urls(Entry("a", "evil.net", "team/a"), "metadata.json", RAW)


@pytest.mark.parametrize(
    "template",
    [
        "https://a.org/{path}/{branch}",
        "https://a.org/{path}/{path}/{branch}/{file}",
        "https://{path}/{branch}/{file}",
        "https://a.org/{path}/{branch}/{file}/{0}",
        "ftp://a.org/{path}/{branch}/{file}",
        "https://u@a.org/{path}/{branch}/{file}",
        "",
    ],
)
def test_a_template_that_leads_elsewhere_is_refused(template):
    assert template_fault(template)


def test_the_known_templates_are_good():
    assert [template_fault(template) for template in RAW.values()] == ["", ""]
