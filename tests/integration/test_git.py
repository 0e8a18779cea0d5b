"""Git repositories as sources, with real git: over paths, HTTP, TLS and SSH (C31, C37, R14)."""

import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from specs import git_mirror
from specs.git import GitTree
from specs.git_output import MAX_AUTHOR
from specs.repository import Repository
from specs.trees import File, SourceUnavailable, Tree
from specs.yaml_text import MAX_BYTES
from tests.authority import Authority
from tests.git_server import GitServer, Origin, SshServer
from tests.real import wait_until

TOKEN = "tok/en+with=signs-51c1"
LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@dataclass
class Site:
    """An origin, and the ways to read it."""

    origin: Origin
    folder: Path
    mirror: Path

    def tree(self, url: str = "", *, mirror: Path | None = None, **options: Any) -> GitTree:
        settings = {
            name: options.pop(name)
            for name in ("ref", "folder", "token_file", "user")
            if name in options
        }
        repository = Repository(url or str(self.origin.path), **settings)
        return GitTree(repository, mirror or self.mirror, **options)

    def read(self, url: str = "", **options: Any) -> Tree:
        return self.tree(url, **options).read({})

    def fault(self, url: str = "", **options: Any) -> str:
        """Return the words with which nothing is read."""
        with pytest.raises(SourceUnavailable) as caught:
            self.read(url, **options)
        return str(caught.value)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(Origin(tmp_path / "served" / "team.git"), tmp_path, tmp_path / "var" / "mirror")


@pytest.fixture
def server(site: Site):
    with GitServer(site.origin.path.parent) as server:
        yield server


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


def contents(tree: Tree) -> dict[str, bytes | None]:
    return {file.path: file.content for file in tree.files}


def faults(tree: Tree) -> dict[str, str]:
    return {file.path: file.fault for file in tree.files if file.fault}


def blobs(tree: Tree) -> dict[str, str]:
    return {file.path: file.blob for file in tree.files}


def file_at(tree: Tree, path: str) -> File:
    return next(file for file in tree.files if file.path == path)


# What is read


def test_the_spec_files_of_a_branch_are_read_as_they_were_committed(site):
    commit = site.origin.commit(
        {
            "a.yaml": "a\r\n",
            "b/c.YML": b"\xff\xfe",
            "b/d.json": "{}",
            "README.md": "",
            ".github/x.yml": "",
        }
    )
    tree = site.read()
    assert tree.version == commit
    assert tree.settled
    assert contents(tree) == {"a.yaml": b"a\r\n", "b/c.YML": b"\xff\xfe", "b/d.json": b"{}"}
    assert all(file.origin == {"commit": commit, "author": "Ada"} for file in tree.files)


def test_only_what_changed_is_read_again(site):
    first = site.origin.commit({"a.yaml": "1", "b.yaml": "1", "gone.yaml": "1"})
    reader = site.tree()
    tree = reader.read({})
    assert reader.read(blobs(tree)).version == first
    assert set(contents(reader.read(blobs(tree))).values()) == {None}
    second = site.origin.commit({"b.yaml": "2", "gone.yaml": None}, author="Bob")
    changed = reader.read(blobs(tree))
    assert changed.version == second
    assert contents(changed) == {"a.yaml": None, "b.yaml": b"2"}
    assert file_at(changed, "b.yaml").origin == {"commit": second, "author": "Bob"}


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_branches_tags_and_commits_are_read(site, form):
    url = form.format(site.origin.path)
    old = site.origin.commit({"a.yaml": "old"})
    site.origin.git("tag", "light", old)
    site.origin.git(
        "-c", "user.name=x", "-c", "user.email=x@x", "tag", "-m", "signed", "noted", old
    )
    new = site.origin.commit({"a.yaml": "new"})
    site.origin.commit({"a.yaml": "side"}, branch="team/side", parents=(old,))
    refs = {"main": b"new", "light": b"old", "noted": b"old", "team/side": b"side", old: b"old"}
    refs |= {"HEAD": b"new", "refs/tags/noted": b"old", new: b"new"}
    read = {ref: contents(site.read(url, ref=ref))["a.yaml"] for ref in refs}
    assert read == refs
    assert site.tree(url, ref="noted").newest() == old
    assert site.tree(url).newest() == new


def test_a_branch_is_meant_where_a_tag_has_its_name(site):
    old = site.origin.commit({"a.yaml": "old"})
    site.origin.git("tag", "main", old)
    new = site.origin.commit({"a.yaml": "new"})
    assert site.read().version == new


def test_a_pinned_commit_that_is_there_asks_nobody(site):
    commit = site.origin.commit({"a.yaml": "1"})
    tree = site.tree(ref=commit)
    tree.read({})
    shutil.rmtree(site.origin.path)
    assert tree.read({}).version == commit
    assert tree.newest() == commit


def test_only_what_is_below_the_folder_is_read(site):
    site.origin.commit({"prod/eu/a.yaml": "in", "prod-old/b.yaml": "out", "c.yaml": "out"})
    assert contents(site.read(folder="prod/")) == {"eu/a.yaml": b"in"}
    assert file_at(site.read(folder="prod"), "eu/a.yaml").origin["author"] == "Ada"
    assert "has no folder 'staging': check `folder`" in site.fault(folder="staging")
    assert "has no folder 'c.yaml'" in site.fault(folder="c.yaml")


def test_a_commit_without_spec_files_is_an_empty_tree_not_a_fault(site):
    """R14: whether an emptied source counts is decided by who takes it in."""
    site.origin.commit({"README.md": "nothing to run"})
    assert site.read().files == []


# History


def test_a_forced_push_and_an_unrelated_history_are_read_like_any_other(site):
    """C37."""
    first = site.origin.commit({"a.yaml": "1", "b.yaml": "1"})
    second = site.origin.commit({"a.yaml": "2"})
    reader = site.tree()
    seen = blobs(reader.read({}))
    site.origin.point("main", first)
    back = reader.read(seen)
    assert (back.version, contents(back)) == (first, {"a.yaml": b"1", "b.yaml": None})
    assert file_at(back, "a.yaml").origin["commit"] == first
    rewritten = site.origin.commit({"a.yaml": "2"}, parents=(first,), author="Eve")
    assert rewritten != second
    assert file_at(reader.read({}), "a.yaml").origin == {"commit": rewritten, "author": "Eve"}
    unrelated = site.origin.commit({"z.yaml": "z"}, parents=(), author="Zoe")
    tree = reader.read(seen)
    assert contents(tree) == {"z.yaml": b"z"}
    assert file_at(tree, "z.yaml").origin == {"commit": unrelated, "author": "Zoe"}


def test_each_file_has_the_commit_that_made_it_what_it_is(site):
    base = site.origin.commit(dict.fromkeys(("a.yaml", "b.yaml", "c.yaml", "e.yaml"), "0"))
    ours = site.origin.commit({"a.yaml": "ours", "c.yaml": "ours"}, author="Ours")
    theirs = site.origin.commit(
        {"b.yaml": "theirs", "c.yaml": "theirs", "e.yaml": "overruled"},
        branch="side",
        parents=(base,),
        author="Theirs",
    )
    merge = site.origin.commit(
        {"b.yaml": "theirs", "c.yaml": "both"}, parents=(ours, theirs), author="Judge"
    )
    site.origin.commit({"README": "later"}, author="Later")
    moved = site.origin.commit({"a.yaml": None, "moved/a.yaml": "ours"}, author="Mover")
    origins = {file.path: tuple(file.origin.values()) for file in site.read().files}
    assert origins == {
        "b.yaml": (theirs, "Theirs"),
        "c.yaml": (merge, "Judge"),
        "e.yaml": (base, "Ada"),
        "moved/a.yaml": (moved, "Mover"),
    }


def test_the_name_of_an_author_is_made_fit_to_show(site):
    site.origin.commit({"a.yaml": "1"}, author="E\x1b[31mve\t\u202egpj " + "x" * 900)
    author = file_at(site.read(), "a.yaml").origin["author"]
    assert author.startswith("E [31mve gpj xxx")
    assert len(author) == MAX_AUTHOR


def test_where_the_walk_ends_early_the_tip_is_named_without_an_author(site, monkeypatch):
    site.origin.commit({"a.yaml": "1"})
    tip = site.origin.commit({"b.yaml": "1"})
    monkeypatch.setattr("specs.git.ORIGIN_S", 0.0)
    assert all(file.origin == {"commit": tip} for file in site.read().files)


# What must not be read (C31)


def test_what_is_no_ordinary_file_is_a_fault_of_its_own_and_the_others_are_read(site):
    """C31: links in and out, submodules, LFS, odd modes and names, twins."""
    origin = site.origin
    out, inside = origin.blob("/etc/passwd"), origin.blob("good.yaml")
    spec, lfs, big = origin.blob("spec"), origin.blob(LFS), origin.blob(b"#" * (MAX_BYTES + 1))
    module = "1" * 40
    long = b"d/" * 600 + b"x.yaml"
    origin.commit(
        {"good.yaml": "good", "-x.yaml": "dashed", "--upload-pack=x.yaml": "", "a b/ü.yaml": "ü"},
        raw={
            b"out.yaml": ("120000", out),
            b"in.yaml": ("120000", inside),
            b"exec.yaml": ("100755", spec),
            b"vendor": ("160000", module),
            b"vendored.yaml": ("160000", module),
            b".hidden": ("160000", module),
            b"pointer.yaml": ("100644", lfs),
            b"big.yaml": ("100644", big),
            b"latin-\xe9.yaml": ("100644", spec),
            b"line\nfeed.yaml": ("100644", spec),
            b"Twin.yaml": ("100644", spec),
            b"twin.yaml": ("100644", spec),
            b"Dir/same.yaml": ("100644", spec),
            b"dir/same.yaml": ("100644", spec),
            "caf\u00e9.yaml".encode(): ("100644", spec),
            "cafe\u0301.yaml".encode(): ("100644", spec),
            long: ("100644", spec),
        },
    )
    tree = site.read()
    good = {path: content for path, content in contents(tree).items() if content is not None}
    assert good == {
        "good.yaml": b"good",
        "-x.yaml": b"dashed",
        "--upload-pack=x.yaml": b"",
        "a b/ü.yaml": "ü".encode(),
        "exec.yaml": b"spec",
    }
    told = faults(tree)
    cut = next(path for path in told if path.endswith("…"))
    assert {path: fault.split(":")[0] for path, fault in told.items()} == {
        "out.yaml": "is a symbolic link, which is not followed",
        "in.yaml": "is a symbolic link, which is not followed",
        "vendor": "is a submodule, which is not read",
        "vendored.yaml": "is a submodule, which is not read",
        "pointer.yaml": "is kept in Git LFS, which is not read",
        "big.yaml": f"has {MAX_BYTES + 1} bytes, more than {MAX_BYTES}",
        "latin-\\xe9.yaml": "has a path that is not UTF-8",
        "line\\nfeed.yaml": "has a path that holds the control character '\\n' at position 4",
        "Twin.yaml": "differs from 'twin.yaml' in case or accents only",
        "twin.yaml": "differs from 'Twin.yaml' in case or accents only",
        "Dir/same.yaml": "differs from 'dir/same.yaml' in case or accents only",
        "dir/same.yaml": "differs from 'Dir/same.yaml' in case or accents only",
        "caf\u00e9.yaml": "differs from 'cafe\u0301.yaml' in case or accents only",
        "cafe\u0301.yaml": "differs from 'caf\u00e9.yaml' in case or accents only",
        cut: f"has a path of {len(long)} bytes, more than 1024",
    }
    assert all(file.content is None for file in tree.files if file.fault)


def test_a_pointer_of_lfs_stays_a_fault_when_nothing_changed(site):
    site.origin.commit({"a.yaml": LFS})
    reader = site.tree()
    told = faults(first := reader.read({}))
    assert faults(reader.read(blobs(first))) == told != {}


def test_a_file_of_100_mb_is_told_without_being_read(site):
    """C36: its size is known from the listing."""
    site.origin.commit({"a.yaml": "a", "huge.yaml": b"\0" * 100_000_000})
    tree = site.read()
    assert contents(tree) == {"a.yaml": b"a", "huge.yaml": None}
    assert "has 100000000 bytes" in faults(tree)["huge.yaml"]


def test_a_tree_that_points_above_itself_is_refused_as_a_whole(site):
    """C31: `..` as a folder; git's own check of what it fetches finds it."""
    blob = site.origin.blob("evil")
    tree = site.origin.git(
        "hash-object", "-t", "tree", "-w", "--stdin", "--literally",
        stdin=b"100644 x.yaml\0" + bytes.fromhex(blob),
    )  # fmt: skip
    up = site.origin.git(
        "hash-object", "-t", "tree", "-w", "--stdin", "--literally",
        stdin=b"40000 ..\0" + bytes.fromhex(tree),
    )  # fmt: skip
    site.origin.point("main", site.origin.commit_tree(up))
    assert "git finds objects in the repository malformed" in site.fault()


def test_a_tree_of_more_files_than_memory_holds_ends_with_words(site, monkeypatch):
    """C36: ten trees deep, ten of each: ten thousand million files in a few hundred bytes."""
    tree = site.origin.git(
        "mktree", stdin=f"100644 blob {site.origin.blob('x')}\tx.yaml\n".encode()
    )
    for _ in range(10):
        lines = "".join(f"040000 tree {tree}\td{number}\n" for number in range(10))
        tree = site.origin.git("mktree", stdin=lines.encode())
    site.origin.point("main", site.origin.commit_tree(tree))
    monkeypatch.setattr("specs.git_program.MAX_OUTPUT", 2_000_000)
    assert "more than 2000000 bytes to read: narrow it with `folder`" in site.fault()


def test_more_files_or_bytes_than_one_tree_may_have_are_refused(site, monkeypatch):
    """C36."""
    site.origin.commit({f"{number}.yaml": f"{number}" * 100 for number in range(9)})
    with monkeypatch.context() as patch:
        patch.setattr("specs.git.MAX_FILES", 8)
        assert "it holds 9 spec files, more than 8: narrow it with `folder`" in site.fault()
    monkeypatch.setattr("specs.git.MAX_TREE_BYTES", 899)
    assert "its spec files hold more than 899 bytes together" in site.fault()


# What is not there


def test_what_is_not_there_is_said_with_what_is(site, tmp_path):
    assert "it holds no commit yet: push 'main'" in site.fault()
    commit = site.origin.commit({"a.yaml": "a"})
    assert "it has no such branch or tag; did you mean 'main'?" in site.fault(ref="mian")
    assert "it has no such branch or tag; it has 'main'" in site.fault(ref="production")
    tag = site.origin.blob("no commit")
    site.origin.git("tag", "odd", tag)
    assert "it is no commit" in site.fault(ref="odd")
    absent = "0" * 39 + "1"
    assert "the branch, tag or commit is not there (any more)" in site.fault(ref=absent)
    gone = site.fault(str(tmp_path / "gone.git"))
    assert "there is no such repository" in gone
    assert gone.startswith(f"can't read {tmp_path / 'gone.git'} at 'main': ")
    assert site.read().version == commit


def test_a_branch_or_repository_that_vanishes_is_no_empty_tree(site):
    """R14: what can't be read says nothing of what is absent."""
    site.origin.commit({"a.yaml": "a"})
    reader = site.tree()
    seen = blobs(reader.read({}))
    site.origin.commit({"b.yaml": "b"}, branch="other")
    site.origin.git("update-ref", "-d", "refs/heads/main")
    with pytest.raises(SourceUnavailable, match="it has no such branch or tag; it has 'other'"):
        reader.read(seen)
    shutil.rmtree(site.origin.path)
    with pytest.raises(SourceUnavailable, match="there is no such repository"):
        reader.read(seen)


# The mirror


def damage_by_bytes(mirror: Path) -> None:
    for pack in mirror.glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:40] + b"\xff" * 40)


def damage_by_absence(mirror: Path) -> None:
    for file in mirror.glob("objects/pack/*"):
        file.unlink()


def damage_by_a_ref(mirror: Path) -> None:
    (mirror / git_mirror.TIP).write_text("not an id\n")


def damage_by_a_half(mirror: Path) -> None:
    shutil.rmtree(mirror / "objects")


@pytest.mark.parametrize(
    "damage", [damage_by_bytes, damage_by_absence, damage_by_a_ref, damage_by_a_half]
)
@pytest.mark.parametrize("moved", [False, True])
def test_a_damaged_mirror_is_made_anew(site, damage, moved):
    """C37."""
    site.origin.commit({f"{number}.yaml": f"{number}" * 50 for number in range(5)})
    reader = site.tree()
    before = reader.read({})
    damage(site.mirror)
    if moved:
        site.origin.commit({"b.yaml": "b"})
    assert reader.read({}).version == site.origin.tip()
    assert contents(reader.read({})).items() >= contents(before).items()


def test_what_a_killed_git_left_does_not_hinder(site):
    site.origin.commit({"a.yaml": "a"})
    reader = site.tree()
    reader.read({})
    for left in (f"{git_mirror.TIP}.lock", "objects/pack/tmp_pack_x", "packed-refs.lock"):
        (site.mirror / left).write_text("half")
    commit = site.origin.commit({"a.yaml": "b"})
    assert reader.read({}).version == commit
    assert not list(site.mirror.glob("**/*.lock"))
    assert not list(site.mirror.glob("objects/pack/tmp_*"))


def test_hooks_and_monitors_of_mirror_and_repository_never_run(site, tmp_path):
    """C31."""
    site.origin.commit({"a.yaml": "a"})
    site.read()
    ran = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho ran >> {ran}\n")
    script.chmod(0o755)
    for place in (site.mirror, site.origin.path):
        (place / "hooks").mkdir(exist_ok=True)
        for hook in ("reference-transaction", "post-checkout", "pre-auto-gc", "post-update"):
            shutil.copy(script, place / "hooks" / hook)
        with (place / "config").open("a") as config:
            config.write(
                f"[core]\n\tfsmonitor = {script}\n\tsshCommand = {script}\n\tgitProxy = {script}\n"
                f"\tpager = {script}\n\thooksPath = {place / 'hooks'}\n"
                f"[uploadpack]\n\tpackObjectsHook = {script}\n"
                f"[credential]\n\thelper = {script}\n"
            )
    assert site.read().version == site.origin.tip()
    assert not ran.exists()


def test_settings_of_the_machine_and_its_user_count_for_nothing(site, tmp_path):
    site.origin.commit({"a.yaml": "a"})
    other = Origin(tmp_path / "other.git")
    other.commit({"evil.yaml": "evil"})
    home = tmp_path / "home"
    home.mkdir()
    rewrite = f'[url "{other.path}"]\n\tinsteadOf = {site.origin.path}\n'
    (home / ".gitconfig").write_text(rewrite)
    outside = {"HOME": str(home), "PATH": os.environ["PATH"], "GIT_DIR": str(other.path)}
    outside |= {"GIT_CONFIG_PARAMETERS": f"'url.{other.path}.insteadOf={site.origin.path}'"}
    assert list(contents(site.read(environ=outside))) == ["a.yaml"]


def test_a_mirror_whose_settings_were_changed_is_made_anew(site, tmp_path):
    """C31: settings beside those that we override could send git elsewhere."""
    site.origin.commit({"a.yaml": "a"})
    site.read()
    other = Origin(tmp_path / "other.git")
    other.commit({"evil.yaml": "evil"})
    with (site.mirror / "config").open("a") as config:
        config.write(f'[url "{other.path}"]\n\tinsteadOf = {site.origin.path}\n')
    site.origin.commit({"b.yaml": "b"})
    assert list(contents(site.read())) == ["a.yaml", "b.yaml"]


def test_a_folder_that_is_no_mirror_is_left_alone(site, tmp_path):
    site.origin.commit({"a.yaml": "a"})
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter").write_text("1")
    assert "is there and is no mirror of ours" in site.fault(mirror=precious)
    assert [file.name for file in precious.iterdir()] == ["chapter"]


def test_two_processes_do_not_meet_in_a_mirror(site):
    site.origin.commit({"a.yaml": "a"})
    other = git_mirror.Mirror(site.mirror, max_bytes=10**9)
    with other.held():
        assert "another process reads it through the mirror" in site.fault()
    assert site.read().files


def test_a_mirror_stays_small_over_many_fetches(site, monkeypatch):
    monkeypatch.setattr(git_mirror, "MAX_PACKS", 3)
    reader = site.tree()
    for number in range(8):
        site.origin.commit({"a.yaml": f"{number}"}, parents=() if number % 2 else None)
        assert contents(reader.read({}))["a.yaml"] == f"{number}".encode()
        assert len(list(site.mirror.glob("objects/pack/*.pack"))) <= 3


def test_a_repository_that_is_too_large_is_refused_and_leaves_nothing(site):
    site.origin.commit({"a.yaml": "a", "noise.bin": os.urandom(3_000_000)})
    assert "its history takes more than 1 MB" in site.fault(max_mirror_bytes=1_000_000)
    assert not list(site.mirror.glob("**/*.pack"))
    assert site.read(max_mirror_bytes=10_000_000).files


def test_a_mirror_that_cannot_be_made_is_said(site):
    site.origin.commit({"a.yaml": "a"})
    site.mirror.parent.write_text("a file where the folder should be")
    assert site.fault().endswith(f": File exists ({site.mirror.parent})")


# The program


def pretend_git(folder: Path, script: str) -> dict[str, str]:
    """Return an environment in which `git` is a shell script."""
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_git_that_is_missing_or_too_old_is_said(site, tmp_path):
    assert "git is not on PATH: install git 2.32 or later" in site.fault(
        environ={"PATH": str(tmp_path / "empty")}
    )
    old = pretend_git(tmp_path / "old", "echo git version 2.25.1")
    assert "'git version 2.25.1' is too old: install git 2.32 or later" in site.fault(environ=old)


def test_a_full_disk_is_said_and_the_mirror_is_kept(site, tmp_path):
    site.origin.commit({"a.yaml": "a"})
    site.read()
    site.origin.commit({"a.yaml": "b"})
    full = pretend_git(
        tmp_path / "full",
        'case "$*" in *fetch*) echo "fatal: write error: No space left on device" >&2; exit 128;;'
        f' *) exec {shutil.which("git")} "$@";; esac',
    )
    told = site.fault(environ=full)
    assert "the disk of the mirror is full: make room" in told
    assert told.endswith("(git: fatal: write error: No space left on device)")
    assert list(site.mirror.glob("objects/pack/*.pack"))


# Over HTTP


def test_a_repository_is_read_over_http(site, server):
    site.origin.commit({"a.yaml": "1"})
    reader = site.tree(server.url("team.git"))
    seen = blobs(reader.read({}))
    commit = site.origin.commit({"a.yaml": "2"})
    assert reader.newest() == commit
    assert contents(reader.read(seen)) == {"a.yaml": b"2"}
    assert contents(site.read(server.url("team.git"), ref=commit)) == {"a.yaml": b"2"}


def test_credentials_are_given_from_their_file_and_read_anew_each_time(site, server, token_file):
    site.origin.commit({"a.yaml": "a"})
    server.password = TOKEN
    reader = site.tree(server.url("team.git"), token_file=token_file)
    assert reader.read({}).files
    server.password = "another"
    with pytest.raises(SourceUnavailable, match="refused the credentials") as caught:
        reader.read({})
    assert TOKEN not in str(caught.value)
    token_file.write_text("another")
    assert reader.read({}).files


def test_credentials_that_are_missing_or_unfit_are_said(site, server, tmp_path):
    site.origin.commit({"a.yaml": "a"})
    server.password = TOKEN
    url = server.url("team.git")
    assert "put a token that may read it into `token_file`" in site.fault(url)
    absent = tmp_path / "absent"
    assert f"the token can't be read from {absent}: No such" in site.fault(url, token_file=absent)
    absent.write_text("a\r\nX-Evil: 1")
    assert "holds no token" in site.fault(url, token_file=absent)


def test_a_token_is_seen_by_nobody(site, server, token_file):
    """It is on no command line and in no file, and goes nowhere but to its host."""
    site.origin.commit({"a.yaml": "a"})
    server.password = TOKEN
    url = server.url("team.git")
    assert site.read(url, token_file=token_file).files
    secrets = {TOKEN, *(header.split()[-1] for header in server.seen if header)}
    assert len(secrets) == 2
    server.hangs = True
    server.arrived.clear()
    stop = threading.Event()
    reader = site.tree(url, token_file=token_file, stopped=stop.is_set)
    told: list[str] = []

    def read() -> None:
        with pytest.raises(SourceUnavailable) as caught:
            reader.read({})
        told.append(str(caught.value))

    thread = threading.Thread(target=read)
    thread.start()
    assert server.arrived.wait(10)
    lines = [line for line in command_lines() if b"ls-remote" in line or b"git-remote" in line]
    stop.set()
    thread.join(10)
    assert lines
    assert told == [f"can't read {url} at 'main': it was cut short, because the service stops"]
    files = [file.read_bytes() for file in site.mirror.parent.rglob("*") if file.is_file()]
    for text in [*lines, *files, told[0].encode(), repr(reader).encode()]:
        assert not any(secret.encode() in text for secret in secrets)


def test_a_redirect_is_not_followed_and_gets_no_token(site, server, token_file):
    site.origin.commit({"a.yaml": "a"})
    with GitServer(site.origin.path.parent) as other:
        server.elsewhere = other.url("").rstrip("/")
        told = site.fault(server.url("team.git"), token_file=token_file)
        assert other.seen == []
    assert "the server sends us elsewhere, which is not followed" in told


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "the server forbids it (403)"),
        (404, "there is no such repository"),
        (429, "the server wants to be asked less often (429)"),
        (500, "the server has a fault of its own"),
        (503, "the server has a fault of its own"),
    ],
)
def test_what_a_server_refuses_is_said_in_its_own_words(site, server, status, words):
    server.status = status
    assert words in site.fault(server.url("team.git"))


def test_a_server_that_is_not_there_or_not_known_is_said(site):
    with GitServer(site.folder) as server:
        url = server.url("team.git")
    assert "the server can't be reached" in site.fault(url)
    assert "the server's name is not known" in site.fault("https://no-such-host.invalid/x.git")


def test_a_hung_server_does_not_outlive_the_deadline_and_leaves_no_process(site, server):
    server.hangs = True
    url = server.url("team.git")
    began = time.monotonic()
    assert "the time for it is over" in site.fault(url, timeout_s=1.0)
    assert time.monotonic() - began < 5.0
    # What is killed is there for a moment still.
    wait_until(lambda: not any(url.encode() in line for line in command_lines()), within_s=5)


def test_a_server_that_hangs_in_the_middle_of_a_fetch_is_left_at_the_deadline(site, tmp_path):
    site.origin.commit({"a.yaml": "a"})
    hung = pretend_git(
        tmp_path / "hung",
        'case "$*" in *fetch*) sleep 3219 & sleep 3219;;'
        f' *) exec {shutil.which("git")} "$@";; esac',
    )
    assert "the time for it is over" in site.fault(environ=hung, timeout_s=1.0)
    wait_until(lambda: not [line for line in command_lines() if b"3219" in line], within_s=5)
    assert site.read().files


def test_an_unknown_authority_is_a_fault_and_a_named_one_is_trusted(site, tmp_path):
    site.origin.commit({"a.yaml": "a"})
    authority = Authority(tmp_path / "ca")
    with GitServer(site.origin.path.parent, authority.context("127.0.0.1")) as server:
        url = server.url("team.git")
        assert "no trusted TLS connection came about" in site.fault(url)
        trusting = {"PATH": os.environ["PATH"], "GIT_SSL_CAINFO": str(authority.file)}
        assert site.read(url, environ=trusting).files


# Over SSH


@pytest.fixture(scope="module")
def ssh(tmp_path_factory):
    if missing := SshServer.missing():
        pytest.skip(missing)
    with SshServer(tmp_path_factory.mktemp("ssh") / "server") as server:
        yield server


def test_a_repository_is_read_over_ssh(site, ssh):
    site.origin.commit({"a.yaml": "1"})
    url = ssh.url(site.origin.path)
    reader = site.tree(url, environ=ssh.client("friend"))
    seen = blobs(reader.read({}))
    site.origin.commit({"a.yaml": "2"})
    assert contents(reader.read(seen)) == {"a.yaml": b"2"}
    gone = site.fault(ssh.url(site.origin.path.with_name("gone")), environ=ssh.client("other"))
    assert "there is no such repository" in gone


def test_unknown_hosts_and_unknown_keys_are_said(site, ssh):
    site.origin.commit({"a.yaml": "1"})
    url = ssh.url(site.origin.path)
    unknown = site.fault(url, environ=ssh.client("careful", known=False))
    assert "the host key of the server is unknown or another" in unknown
    stranger = site.fault(url, environ=ssh.client("stranger-home", key="stranger"))
    assert "the server refused this user's SSH keys" in stranger
    assert "(git: " in stranger
    shut = url.replace(f":{ssh.port}/", ":1/")
    assert "the server can't be reached" in site.fault(shut, environ=ssh.client("shut"))


def command_lines() -> list[bytes]:
    """Return the command lines of all processes, each with its id."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append(process.name.encode() + b" " + (process / "cmdline").read_bytes())
        except OSError:
            continue
    return lines
