import pytest

from specs.images import is_repository, is_tag, split_reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("deephdc/name", "deephdc/name", ""),
        ("deephdc/name:cpu", "deephdc/name", "cpu"),
        ("name:1.0", "name", "1.0"),
        ("localhost:5000/name", "localhost:5000/name", ""),
        ("localhost:5000/name:cpu", "localhost:5000/name", "cpu"),
        (f"host.org/a/b@{DIGEST}", "host.org/a/b", DIGEST),
        (f"host:5000/b@{DIGEST}", "host:5000/b", DIGEST),
        (f"a:b@{DIGEST}", "a:b", DIGEST),
        ("name:", "name:", ""),
        ("name@", "name@", ""),
        ("a:b:c", "a", "b:c"),
        ("", "", ""),
    ],
)
def test_a_reference_is_split_into_repository_and_tag(reference, repository, tag):
    assert split_reference(reference) == (repository, tag)


@pytest.mark.parametrize(
    "text",
    ["a", "deephdc/deep-oc_x.y", "host.org:5000/a/b", "localhost/a", "a__b", "a---b", "1/2"],
)
def test_a_repository_of_the_grammar_is_taken(text):
    assert is_repository(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "A", "a/B", "a b", "a:b", "a@b", "/a", "a/", "a//b", "-a", "a-", "a..b", "a___b"),
        *("docker://a", "host:port/a", "host:123456/a", "--privileged", "ä", "a\n", "a\0"),
        *("${x}", "../a", "a" * 256),
    ],
)
def test_what_is_no_repository_is_refused(text):
    assert not is_repository(text)


@pytest.mark.parametrize("text", ["latest", "CPU", "_x", "1.0-rc.1", "a" * 128, DIGEST])
def test_a_tag_of_the_grammar_is_taken(text):
    assert is_tag(text)


@pytest.mark.parametrize(
    "text",
    ["", "-a", ".a", "a" * 129, "a b", "a\n", "a:b", "ä", DIGEST[:-1], DIGEST.upper(), "md5:00"],
)
def test_what_is_no_tag_is_refused(text):
    assert not is_tag(text)


def test_a_long_hostile_name_is_refused_at_once():
    assert not is_repository("a" + "-_." * 80 + "!")
