"""The pure parts of reading git: settings, what git prints, and what its complaints mean (C31)."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.git_faults import Blame, masked, meaning, telling_line
from specs.git_output import (
    MAX_AUTHOR,
    Origin,
    OriginWalk,
    printable,
    read_blobs,
    read_listing,
    read_refs,
    read_version,
)
from specs.git_program import Login, environment
from specs.repository import Repository
from specs.trees import MAX_PATH
from specs.yaml_text import MAX_BYTES

ONE, TWO, THREE = ("1" * 40, "2" * 40, "3" * 40)
TOKEN_FILE = Path("/run/token")


# Settings


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://git.example.org/team/specs.git", "https"),
        ("http://git.example.org:8080/specs", "http"),
        ("https://[::1]:8443/specs", "https"),
        ("ssh://git@git.example.org:2222/~/specs.git", "ssh"),
        ("git@git.example.org:team/specs.git", "ssh"),
        ("git@git.example.org:/srv/specs.git", "ssh"),
        ("file:///srv/specs.git", "file"),
        ("/srv/specs.git", "file"),
    ],
)
def test_the_url_names_the_only_protocol_that_git_may_use(url, protocol):
    assert Repository(url).protocol == protocol
    assert environment({}, protocol=protocol)["GIT_ALLOW_PROTOCOL"] == protocol


@pytest.mark.parametrize(
    "url",
    [
        "",
        "specs",
        "../specs",
        "-oProxyCommand=evil",
        "--upload-pack=evil",
        "ext::sh -c evil",
        "ext::evil",
        "git@host::evil",
        "git@host:-evil",
        "-evil@host:path",
        "fd::17",
        "git://host/path",
        "ftp://host/path",
        "HTTPS://host/path",
        "ssh://-oProxyCommand=evil/path",
        "ssh:///path",
        "https://",
        "https://host:port/path",
        "https://host:99999/path",
        "https://[::1/path",
        "https://host/a path",
        "https://host/path\n--evil",
        "https://host/path\0",
        "https://host/p?token=secret",
        "https://host/p#secret",
    ],
)
def test_what_is_no_url_of_a_repository_is_refused(url):
    with pytest.raises(ValueError, match="URL"):
        Repository(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host/path",
        "https://hunter2@host/path",
        "http://:hunter2@host/path",
        "ssh://git:hunter2@host/path",
        "hunter2:hunter2@host/path",
        "svn+https://user:hunter2@host/path",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="URL") as caught:
        Repository(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("ref", "names"),
    [
        ("main", ("refs/heads/main", "refs/tags/main")),
        ("release/v1.2", ("refs/heads/release/v1.2", "refs/tags/release/v1.2")),
        ("beef", ("refs/heads/beef", "refs/tags/beef")),
        ("refs/pull/7/head", ("refs/pull/7/head",)),
        ("HEAD", ("HEAD",)),
        (ONE, ()),
    ],
)
def test_a_ref_stands_for_full_names(ref, names):
    assert Repository("/r", ref=ref).names == names


@pytest.mark.parametrize(
    "ref",
    [
        *("", "-b", "--exec=x", "a b", "a..b", "a~1", "a^{}", "a:b", "a*", "a?", "[a", "a\\b"),
        *("@{-1}", "a.lock", "a.lock/b", "a/", "/a", "a//b", "a/.b", ".a", "a.", "a\nb", "a\0b"),
        "\udcff",
    ],
)
def test_what_is_no_ref_is_refused(ref):
    with pytest.raises(ValueError, match="is no name of a branch or tag and no commit id"):
        Repository("/r", ref=ref)


@pytest.mark.parametrize(
    ("folder", "root"), [("", ""), ("a", "a"), ("a/b/", "a/b"), ("/a", "a"), ("-x", "-x")]
)
def test_a_folder_is_written_with_or_without_slashes_around_it(folder, root):
    assert Repository("/r", folder=folder).root == root


@pytest.mark.parametrize("folder", ["..", "a/../b", "./a", "a//b", "a\nb", "a\0"])
def test_what_is_no_folder_is_refused(folder):
    with pytest.raises(ValueError, match="is no folder of a repository"):
        Repository("/r", folder=folder)


@pytest.mark.parametrize(
    ("url", "user", "allowed"),
    [
        ("https://host/r", "x-access-token", True),
        ("http://127.0.0.1:8080/r", "git", True),
        ("http://host/r", "git", False),
        ("ssh://host/r", "git", False),
        ("/r", "git", False),
        ("https://host/r", "a:b", False),
        ("https://host/r", "", False),
        ("https://host/r", "a\nb", False),
    ],
)
def test_a_token_goes_over_https_only(url, user, allowed):
    if allowed:
        assert Repository(url, token_file=TOKEN_FILE, user=user).token_file == TOKEN_FILE
        return
    with pytest.raises(ValueError, match=r"token goes over https only|is no user name"):
        Repository(url, token_file=TOKEN_FILE, user=user)


# The environment


def test_git_is_told_only_what_it_needs_and_the_token_for_one_host():
    outside = {"PATH": "/bin", "HOME": "/h", "GIT_DIR": "/evil", "GIT_TRACE": "1", "SECRET": "s"}
    login = Login("bot", "t0ken")
    told = environment(outside, protocol="https", url="https://h:8443/r.git", login=login)
    assert (told["PATH"], told["HOME"]) == ("/bin", "/h")
    assert not {"GIT_DIR", "GIT_TRACE", "SECRET"} & told.keys()
    count = int(told["GIT_CONFIG_COUNT"])
    settings = {told[f"GIT_CONFIG_KEY_{n}"]: told[f"GIT_CONFIG_VALUE_{n}"] for n in range(count)}
    assert settings["http.https://h:8443/.extraHeader"] == "Authorization: Basic Ym90OnQwa2Vu"
    assert settings["core.hooksPath"] == "/dev/null"
    assert settings["core.fsmonitor"] == "false"
    assert settings["http.followRedirects"] == "false"
    assert settings["transfer.fsckObjects"] == "true"
    assert "t0ken" not in repr(login)


# What git prints


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("git version 2.39.5\n", (2, 39)),
        ("git version 2.50.1 (Apple Git-155)", (2, 50)),
        ("git version 3.0.0.rc1", (3, 0)),
        ("usage: git", None),
        ("", None),
    ],
)
def test_the_version_is_read(printed, version):
    assert read_version(printed) == version


def test_an_annotated_tag_is_what_it_was_made_for():
    printed = f"{ONE}\trefs/heads/main\n{TWO}\trefs/tags/v1\n{THREE}\trefs/tags/v1^{{}}\n".encode()
    assert read_refs(printed) == {"refs/heads/main": ONE, "refs/tags/v1": THREE}
    assert read_refs(b"") == {}


def entry(
    path: bytes | str, *, mode: str = "100644", blob: str = ONE, size: int | str = 5
) -> bytes:
    kind = "commit" if mode == "160000" else "blob"
    raw = path if isinstance(path, bytes) else path.encode()
    return f"{mode} {kind} {blob} {size:>7}\t".encode() + raw + b"\0"


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (entry("a.yaml"), ""),
        (entry("a.yaml", mode="100755"), ""),
        (entry("a.yaml", size=MAX_BYTES), ""),
        (entry("a.yaml", size=MAX_BYTES + 1), "has 65537 bytes, more than 65536"),
        (entry("a.yaml", mode="120000"), "is a symbolic link"),
        (entry("a.yaml", mode="100664"), "is no regular file (mode 100664)"),
        (entry("module", mode="160000", size="-"), "is a submodule"),
        (entry(b"\xff.yaml"), "has a path that is not UTF-8"),
        (entry("a\x1b[31m.yaml"), "has a path that holds the control character"),
        (entry("\u202egpj.yaml"), "has a path that holds the control character"),
        (entry("x" * (MAX_PATH - 5) + ".yaml"), ""),
        (entry("x" * (MAX_PATH - 4) + ".yaml"), "has a path of 1025 bytes, more than 1024"),
    ],
)
def test_a_file_that_must_not_be_read_has_a_fault(record, fault):
    (file,) = read_listing(record).files
    assert file.fault.startswith(fault)
    assert bool(file.fault) == bool(fault)
    assert not re.search(r"[\x00-\x1f\u202e]", file.path)


@pytest.mark.parametrize(
    "record",
    [
        entry("README.md"),
        entry("a.yaml.txt"),
        entry(".github/a.yaml"),
        entry("../a.yaml"),
        entry(".module", mode="160000", size="-"),
        entry("link", mode="120000"),
        entry(b"\xff.txt"),
    ],
)
def test_what_nobody_takes_for_a_spec_is_passed_over(record):
    assert read_listing(record).files == []


def test_twins_are_refused_both_and_named():
    printed = entry("A.yaml") + entry("a.yaml", blob=TWO) + entry("b.yaml", blob=THREE, size=7)
    listing = read_listing(printed)
    assert [bool(file.fault) for file in listing.files] == [True, True, False]
    assert "'a.yaml'" in listing.files[0].fault
    assert listing.sizes == {ONE: 5, TWO: 5, THREE: 7}


def test_a_path_that_is_shown_like_another_takes_no_ones_place():
    files = read_listing(entry(b"\xff.yaml") + entry("\\xff.yaml")).files
    assert [file.path for file in files] == ["\\xff.yaml"] * 2
    assert all(file.fault for file in files)


def test_blobs_are_read_whatever_they_hold():
    printed = (
        f"{ONE} blob 9\n".encode()
        + b"\n\0 blob 3\n"
        + f"\n{TWO} missing\n{THREE} blob 0\n\n".encode()
    )
    assert read_blobs(printed) == {ONE: b"\n\0 blob 3\n"[:9], THREE: b""}


LOG = (
    # A merge that settled c.yaml, in the form of -c; then what each side did, and the first commit.
    f"{'d' * 40} Judge\0\0::100644 100644 100644 {ONE} {TWO} {THREE} MM\0c.yaml\0"
    f"{'c' * 40} :Colon\0\n:100644 100644 {ONE} {TWO} M\0c.yaml\0:000000 100644 {ONE} {TWO} A\0x\0"
    f"{'b' * 40} \0\n:100644 000000 {ONE} {'0' * 40} D\0b.yaml\0"
    f"{'a' * 40} Ada\0\n:000000 100644 {'0' * 40} {ONE} A\0b.yaml\0"
    f":000000 100644 {'0' * 40} {TWO} A\0:odd.yaml\0"
).encode()


@given(st.lists(st.integers(0, len(LOG)), max_size=20))
def test_the_walk_finds_who_made_each_file_wherever_its_output_is_cut(cuts):
    wanted = {"c.yaml": THREE, "b.yaml": ONE, ":odd.yaml": TWO, "never.yaml": ONE}
    walk = OriginWalk(wanted, "")
    at = [0, *sorted(cuts), len(LOG)]
    assert all(walk.take(LOG[start:end]) for start, end in pairwise(at))
    assert walk.found == {
        "c.yaml": Origin("d" * 40, "Judge"),
        "b.yaml": Origin("a" * 40, "Ada"),
        ":odd.yaml": Origin("a" * 40, "Ada"),
    }


def test_the_walk_ends_with_the_last_file_and_passes_over_what_was_overruled():
    walk = OriginWalk({"c.yaml": TWO}, "")
    assert not walk.take(LOG)
    assert walk.found == {"c.yaml": Origin("c" * 40, ":Colon")}


def test_the_walk_knows_files_by_their_path_below_the_folder():
    walk = OriginWalk({"c.yaml": ONE}, "prod/eu")
    log = f"{'a' * 40} A\0\n:0 1 {TWO} {ONE} M\0c.yaml\0:0 1 {TWO} {ONE} M\0prod/eu/c.yaml\0"
    assert not walk.take(log.encode())
    assert walk.found == {"c.yaml": Origin("a" * 40, "A")}


@given(st.text())
def test_a_name_is_shown_in_one_short_line(name):
    shown = printable(name)
    assert len(shown) <= MAX_AUTHOR
    assert shown.isprintable()


# What git's complaints mean


@pytest.mark.parametrize(
    ("words", "blame", "sentence"),
    [
        (
            "fatal: could not read Username for 'https://h': terminal prompts disabled",
            Blame.REMOTE,
            "refused the credentials",
        ),
        (
            "remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://h/'",
            Blame.REMOTE,
            "refused the credentials",
        ),
        (
            "remote: Repository not found.\nfatal: repository 'https://github.com/a/b/' not found",
            Blame.REMOTE,
            "no such repository",
        ),
        (
            "ERROR: Repository not found.\nfatal: Could not read from remote repository.\n\n",
            Blame.REMOTE,
            "no such repository",
        ),
        (
            "unable to access 'https://h/': SSL certificate problem: certificate has expired",
            Blame.REMOTE,
            "no trusted TLS",
        ),
        (
            "fatal: unable to access 'https://h/': server certificate verification failed.",
            Blame.REMOTE,
            "no trusted TLS",
        ),
        (
            "fatal: unable to access 'https://certificate.problem/': Could not resolve host: x",
            Blame.REMOTE,
            "name is not known",
        ),
        (
            "@@ REMOTE HOST IDENTIFICATION HAS CHANGED! @@\nHost key verification failed.",
            Blame.REMOTE,
            "host key",
        ),
        (
            "error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec",
            Blame.REMOTE,
            "next to nothing",
        ),
        ("fatal: write error: No space left on device", Blame.MACHINE, "disk of the mirror"),
        (
            "error: insufficient permission for adding an object to repository database objects",
            Blame.MACHINE,
            "can't be written",
        ),
        ("error: cannot run ssh: No such file or directory", Blame.MACHINE, "install an OpenSSH"),
        (
            "fatal: packed object 12ab (stored in x.pack) is corrupt",
            Blame.MIRROR,
            "the mirror is damaged",
        ),
        ("fatal: bad object refs/ai4papi/tip", Blame.MIRROR, "the mirror is damaged"),
        ("fatal: something nobody thought of", Blame.REMOTE, "git failed"),
        ("", Blame.REMOTE, "git failed"),
    ],
)
def test_complaints_are_told_apart(words, blame, sentence):
    assert meaning(words).blame is blame
    assert sentence in meaning(words).sentence


@pytest.mark.parametrize("words", ["No space left on device", "bad object x is corrupt"])
def test_a_server_can_not_blame_the_mirror_or_the_machine(words):
    assert meaning(f"remote: {words}\nfatal: broken").blame is Blame.REMOTE


def test_the_line_that_says_most_is_kept():
    consoled = (
        "warning: something\nfatal: strange things happened\n\n"
        "Please make sure you have the correct access rights\nand the repository exists.\n"
    )
    assert telling_line(consoled, ()) == "fatal: strange things happened"
    assert telling_line("", ()) == ""
    hostile = telling_line("fatal: \x1b[31m" + "x" * 999, ())
    assert hostile.startswith("fatal: [31mxx")
    assert len(hostile) == 200


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@host/path",
        "fatal: unable to access 'https://hunter2@host/': proxy http://a:hunter2@p",
        "echo hunter2 and hunter2",
    ],
)
def test_secrets_are_masked(text):
    shown = masked(text, ["hunter2"])
    assert "hunter2" not in shown
    assert "***" in shown
    if "@" in text:
        assert "hunter2" not in masked(text, [])
