"""Spec files on the command line: live deployments as files, and what files would change."""

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from api.cli.access import Access, read_server
from api.cli.client import Client
from api.cli.comparing import compare_files
from api.cli.export import exported
from api.cli.failures import CommandFailed, Refused
from api.schemas import PlanView
from specs.files import Rules, read_file
from specs.intake import DeletionBudget, SourcedWish, SourceRead, take_in
from specs.wish import wish_of_manifest
from specs.yaml_text import read_documents
from tests.pretender import Answer, Asked, pretending
from tests.terminal import on_a_terminal

pytestmark = pytest.mark.usefixtures("elsewhere")

VO = "vo.ai4eosc.eu"
OTHER_VO = "vo.imagine-ai.eu"
NASTY = {"title": "no", "desc": "1e3\n  two: # x\n\ttab\n🎉\n"}
SECRET = "correct-horse"


def write(path: str, *manifests: object) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(yaml.safe_dump_all(manifests, sort_keys=False))


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def apply(caller: Any, manifest: Any) -> None:
    answer = caller.put(f"/v1/specs/{manifest['metadata']['name']}", json=manifest)
    assert answer.is_success, answer.text


class TestExport:
    def test_what_is_exported_applies_to_no_change(self, cli, me, manifest):
        apply(me, manifest("a", general={**NASTY, "jupyter_password": SECRET}, restart=3))
        apply(me, manifest("b", metadata={"labels": {"a": "007"}, "annotations": {"n": "x: y\n"}}))
        result = cli("export", "--all")
        assert (result.exit_code, result.stderr) == (0, "")
        assert SECRET not in result.stdout
        for text in (result.stdout, yaml.safe_dump_all(yaml.safe_load_all(result.stdout))):
            again = cli("apply", "-f", "-", stdin=text)
            assert again.stdout == "deployment a unchanged\ndeployment b unchanged\n"

    def test_a_stream_is_documents_that_editors_check(self, cli, me, server, manifest):
        apply(me, manifest("a"))
        text = cli("export", "a").stdout
        line = f"# yaml-language-server: $schema={server.url}/v1/schema/deployment.json\n"
        assert text.startswith(line + "apiVersion: ai4papi/v1\nkind: Deployment\n")
        (document,) = read_documents(text)
        assert document.tree["metadata"] == {"name": "a", "vo": VO}
        assert set(document.tree["spec"]) == {"general", "hardware", "storage"}
        assert "virtual_organization" not in document.tree["spec"]["general"]

    def test_a_folder_gets_a_file_for_each_and_again_the_same(self, cli, me, manifest):
        apply(me, manifest("a"))
        apply(me, manifest("b"))
        first, again = cli("export", "--all", "-o", "out"), cli("export", "--all", "-o", "out")
        assert first.stdout == "out/a.yaml written\nout/b.yaml written\n"
        assert again.stdout == "out/a.yaml unchanged\nout/b.yaml unchanged\n"
        assert names("out") == ["a.yaml", "b.yaml"]
        assert Path("out/a.yaml").read_text() == cli("export", "a").stdout

    def test_a_file_that_differs_stays_unless_forced(self, cli, me, manifest):
        apply(me, manifest("a"))
        apply(me, manifest("b"))
        write("out/a.yaml", {"by": "me"})
        kept = cli("export", "--all", "-o", "out")
        assert (kept.exit_code, kept.stdout) == (6, "out/b.yaml written\n")
        assert "out/a.yaml is there and differs" in kept.stderr
        assert Path("out/a.yaml").read_text() == "by: me\n"
        forced = cli("export", "--all", "-o", "out", "--force")
        assert forced.stdout == "out/a.yaml replaced\nout/b.yaml unchanged\n"

    def test_c31_a_link_in_the_folder_leads_nowhere(self, cli, me, manifest):
        apply(me, manifest("a"))
        Path("victim").write_text("theirs")
        Path("out").mkdir()
        Path("out/a.yaml").symlink_to(Path("victim").absolute())
        assert cli("export", "a", "-o", "out").exit_code == 6
        assert cli("export", "a", "-o", "out", "--force").exit_code == 0
        assert Path("victim").read_text() == "theirs"
        Path("away").mkdir()
        Path("out", VO).symlink_to(Path("away").absolute())
        led = cli("export", "a", "-o", "out", "--layout", "path")
        assert (led.exit_code, names("away")) == (1, [])
        assert "symbolic link" in led.stderr

    def test_nothing_half_written_stays(self, cli, me, manifest, monkeypatch):
        apply(me, manifest("a"))

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        result = cli("export", "a", "-o", "out")
        assert result.exit_code == 1
        assert "No space left" in result.stderr
        assert names("out") == []

    def test_an_operator_exports_everybodys_with_whose_they_are(self, cli, me, server, manifest):
        apply(me, manifest("a"))
        operator = server.caller(operator=True)
        env = {"AI4PAPI_TOKEN": operator.token}
        result = cli("export", "--all-owners", "-o", "out", "--layout", "path", env=env)
        assert result.exit_code == 0, result.stderr
        (document,) = read_documents(Path("out", VO, me.token, "a.yaml").read_text())
        assert document.tree["metadata"]["owner"] == {"iss": "https://op", "sub": me.token}
        one = cli("export", "a", "--owner", me.token, env=env)
        assert one.stdout == Path("out", VO, me.token, "a.yaml").read_text()
        assert cli("export", "--all-owners").exit_code == 5

    def test_one_name_in_two_vos_needs_the_layout_by_path(self, cli, server, manifest):
        caller = server.caller(several_vos=True)
        env = {"AI4PAPI_TOKEN": caller.token}
        for vo in (VO, OTHER_VO):
            caller.post("/v1/specs", json=manifest("a", metadata={"vo": vo}))
        refused = cli("export", "--all", "-o", "out", env=env)
        assert refused.exit_code == 1
        assert "--layout path" in refused.stderr
        assert not Path("out").exists()
        assert cli("export", "--all", "-o", "out", "--layout", "path", env=env).exit_code == 0
        assert names("out") == [VO, OTHER_VO]

    def test_what_is_being_deleted_is_left_out(self, cli, me, manifest):
        apply(me, manifest("a"))
        me.delete("/v1/specs/a")
        result = cli("export", "--all", "-o", "out")
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == (
            "deployment a is being deleted: left out\nThere are no deployments.\n"
        )

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["a", "--all"],
            ["Not A Name"],
            ["--all-owners", "--owner", "x"],
            ["a", "--all-owners"],
        ],
    )
    def test_a_wrong_command_line_ends_with_2(self, cli, arguments):
        assert cli("export", *arguments).exit_code == 2

    def test_what_is_not_there_ends_with_4(self, cli):
        assert cli("export", "nobody").exit_code == 4

    @pytest.mark.parametrize(
        ("sub", "part"),
        [
            ("abc123@egi.eu", "abc123@egi.eu"),
            ("../../etc", "%2E.%2F..%2Fetc"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            (".git", "%2Egit"),
            ("-rf", "%2Drf"),
            ("a\\b:c", "a%5Cb%3Ac"),
            ("a\0b\n", "a%00b%0A"),
            ("é 100%", "%C3%A9%20100%25"),
            ("dot.", "dot%2E"),
        ],
    )
    def test_c31_no_owner_leads_out_of_the_folder(self, sub, part):
        (one,) = exported([view("a", sub=sub)], server="S", layout="path", owner=True)
        assert one.path == f"vo/{part}/a.yaml"

    @given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=60))
    def test_c38_whoever_a_path_was_written_for_is_who_it_is_read_for(self, sub):
        (one,) = exported([view("a", sub=sub)], server="S", layout="path", owner=False)
        rules = Rules(layout="path", vos=("vo",), issuer="https://op", issuers=("https://op",))
        read = read_file(one.path, one.text.encode(), rules)
        assert ([d.place.owner.sub for d in read.declared], [*read.faults]) == ([sub], [])

    @pytest.mark.parametrize("bad", [{"name": "../x"}, {"name": "A"}, {"sub": ""}, {"vo": ""}])
    def test_c31_what_no_path_can_say_is_refused(self, bad):
        with pytest.raises(CommandFailed):
            exported([view(**{"name": "a", **bad})], server="S", layout="path", owner=False)

    def test_c31_owners_that_some_disks_take_for_one_are_told_apart(self):
        views = [view("a", sub="Alice"), view("a", sub="alice")]
        with pytest.raises(CommandFailed, match="one file"):
            exported(views, server="S", layout="path", owner=True)


def view(name: str, *, sub: str = "alice", vo: str = "vo") -> dict[str, Any]:
    metadata = {"name": name, "vo": vo, "owner": {"iss": "https://op", "sub": sub}}
    return {"metadata": metadata, "spec": {"general": {"title": "x"}}}


@pytest.fixture
def diff(cli):
    """Run `ai4papi diff -f` with more arguments."""

    def run(path: str, *arguments: str, **options: Any):
        return cli("diff", "-f", path, *arguments, **options)

    return run


class TestDiff:
    def test_no_difference_ends_with_0(self, cli, diff, me, manifest):
        apply(me, manifest("a", general={**NASTY, "jupyter_password": SECRET}))
        cli("export", "--all", "-o", "specs")
        result = diff("specs")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"unchanged  a.yaml:2  {VO}/a\n1 unchanged\n"

    def test_a_difference_ends_with_1_and_shows_it_with_the_plan(self, diff, me, manifest, told):
        apply(me, manifest("a", hardware={"ram": 4000}))
        told["plan"] = PlanView(effect="restarts", fits=False, message="no node has 8000 MB")
        write(
            "specs/a.yaml", manifest("a", hardware={"ram": 8000}, metadata={"labels": {"x": "y"}})
        )
        write("specs/b.yaml", manifest("b"))
        result = diff("specs")
        assert (result.exit_code, result.stderr) == (1, "")
        lines = result.stdout.splitlines()
        assert lines[0] == (
            f"change  a.yaml:1  {VO}/a: restarts; does not fit now: no node has 8000 MB"
        )
        assert {"  +++ a.yaml", "  +  labels:", "  +    x: 'y'", "  -    ram: 4000"} <= set(lines)
        assert "  +    ram: 8000" in lines
        assert f"create  b.yaml:1  {VO}/b: restarts; does not fit now: no node has 8000 MB" in lines
        assert lines[-1] == "1 to create, 1 to change"
        assert me.get("/v1/specs/b").status_code == 404
        assert me.get("/v1/specs/a").json()["spec"]["hardware"]["ram"] == 4000

    def test_labels_alone_change_nothing_that_runs(self, diff, me, manifest):
        apply(me, manifest("a"))
        write("a.yaml", manifest("a", metadata={"labels": {"x": "y"}}))
        result = diff("a.yaml")
        assert result.exit_code == 1
        assert "a: changes nothing that runs\n" in result.stdout

    def test_c39_a_secret_is_never_shown_and_said_to_change_where_it_does(self, diff, me, manifest):
        lab = {"service": "jupyterlab", "jupyter_password": SECRET}
        apply(me, manifest("a", general=lab))
        write("same.yaml", manifest("a", general=lab))
        assert diff("same.yaml").exit_code == 0
        write("more.yaml", manifest("a", general=lab, hardware={"ram": 9000}))
        assert "(changed)" not in diff("more.yaml").stdout
        write("new.yaml", manifest("a", general={**lab, "jupyter_password": "battery-staple"}))
        for form in ("text", "json", "github", "junit"):
            result = diff("new.yaml", "--output", form)
            assert result.exit_code == 1
            assert "(changed)" in result.stdout
            assert "battery" not in result.output
            assert SECRET not in result.output
        write("fresh.yaml", manifest("b", general=lab))
        fresh = diff("fresh.yaml").stdout
        assert "+    jupyter_password: (set)" in fresh
        assert SECRET not in fresh

    def test_what_the_server_refuses_ends_with_2_and_the_others_are_compared(
        self, diff, me, manifest
    ):
        apply(me, manifest("b"))
        write("specs/a.yaml", manifest("a", hardware={"ram": -5}))
        write("specs/b.yaml", manifest("b"))
        result = diff("specs")
        assert result.exit_code == 2
        assert result.stdout.startswith(f"refused  a.yaml:1  {VO}/a: ")
        assert "  a.yaml:7:5 /spec/hardware/ram: " in result.stdout
        assert result.stdout.endswith("1 refused, 1 unchanged\n")

    def test_what_the_cluster_refuses_ends_with_2(self, diff, manifest, told):
        told["plan"] = PlanView(effect="refused", fits=False, message="no driver")
        write("a.yaml", manifest("a"))
        result = diff("a.yaml")
        assert (result.exit_code, "no driver" in result.stdout) == (2, True)

    def test_r15_a_file_that_cannot_be_read_ends_with_2_and_the_others_are_compared(
        self, diff, manifest
    ):
        write("specs/a.yaml", manifest("a"))
        Path("specs/bad.yaml").write_text("a: [")
        result = diff("specs")
        assert result.exit_code == 2
        assert "failed  bad.yaml:2  did not find" in result.stdout
        assert result.stdout.endswith("1 failed, 1 to create\n")

    def test_c38_two_documents_for_one_deployment_are_both_at_fault(self, diff, manifest):
        write("specs/a.yaml", manifest("a"))
        write("specs/b.yaml", manifest("a"))
        result = diff("specs")
        assert result.exit_code == 2
        assert result.stdout.count("declared more than once: a.yaml:1, b.yaml:1") == 2

    @pytest.mark.parametrize("arguments", [["nowhere"], ["empty"], ["a.yaml", "--layout", "path"]])
    def test_where_there_is_nothing_to_read_ends_with_2(self, diff, manifest, arguments):
        Path("empty").mkdir()
        write("a.yaml", manifest("a"))
        assert diff(*arguments).exit_code == 2

    def test_a_token_that_is_nobodys_ends_with_5(self, diff, manifest):
        write("a.yaml", manifest("a"))
        assert diff("a.yaml", env={"AI4PAPI_TOKEN": "nobody"}).exit_code == 5

    def test_a_server_that_is_not_there_ends_with_2(self, diff, manifest):
        write("a.yaml", manifest("a"))
        result = diff("a.yaml", env={"AI4PAPI_SERVER": "http://127.0.0.1:9"})
        assert (result.exit_code, result.stdout) == (2, "")
        assert "does not answer" in result.stderr

    @pytest.mark.parametrize("arguments", [[], ["-f", "a.yaml", "--output", "yaml"]])
    def test_a_wrong_command_line_ends_with_2(self, cli, arguments):
        assert cli("diff", *arguments).exit_code == 2

    def test_an_interrupt_ends_with_130(self, cli, monkeypatch):
        def interrupted(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("api.cli.comparing.compare_files", interrupted)
        assert cli("diff", "-f", "a.yaml").exit_code == 130

    @pytest.mark.parametrize("no_color", [False, True])
    def test_a_terminal_shows_a_diff_in_colour_unless_told_not_to(
        self, diff, environ, me, manifest, no_color
    ):
        apply(me, manifest("a", hardware={"ram": 4000}))
        write("a.yaml", manifest("a", hardware={"ram": 8000}))
        told = {**environ, "NO_COLOR": "1"} if no_color else environ
        code, seen = on_a_terminal(told, "diff", "-f", str(Path("a.yaml").absolute()))
        assert code == 1
        assert "ram: 8000" in seen
        assert ("\x1b[32m" in seen, "\x1b[31m" in seen) == (not no_color, not no_color)

    def test_every_output_stands_alone_on_standard_output(self, diff, me, manifest):
        apply(me, manifest("a", hardware={"ram": 4000}))
        write("specs/a.yaml", manifest("a", hardware={"ram": 8000}))
        told = json.loads(diff("specs", "--output", "json").stdout)
        assert told["summary"] == {"change": 1}
        assert {"name": "a", "path": "a.yaml", "verdict": "change"}.items() <= told["findings"][
            0
        ].items()
        comment = diff("specs", "--output", "github").stdout
        assert comment.startswith("**Spec files:** 1 to change\n")
        assert "```diff\n--- stored\n" in comment
        suites = ET.fromstring(diff("specs", "-o", "junit").stdout.encode())
        assert suites.get("failures") == "0"

    def test_an_operator_compares_what_others_own(self, cli, diff, me, server, manifest):
        apply(me, manifest("a", hardware={"ram": 4000}))
        env = {"AI4PAPI_TOKEN": server.caller(operator=True).token}
        owner = {"owner": {"iss": "https://op", "sub": me.token}}
        write("specs/a.yaml", manifest("a", hardware={"ram": 8000}, metadata={**owner, "vo": VO}))
        write("specs/new.yaml", manifest("new", metadata={**owner, "vo": VO}))
        result = diff("specs", env=env)
        assert result.exit_code == 1, result.output
        assert f"change  a.yaml:1  {VO}/{me.token}/a" in result.stdout
        assert f"create  new.yaml:1  {VO}/{me.token}/new: creates\n" in result.stdout
        cli("export", "--all-owners", "-o", "tree", "--layout", "path", env=env)
        mine = diff("tree", "--layout", "path", "-o", "json", env=env)
        assert {f["verdict"] for f in json.loads(mine.stdout)["findings"]} == {"unchanged"}

    def test_c10_what_others_own_ends_with_5_for_a_user(self, diff, server, manifest):
        other = server.caller()
        apply(other, manifest("a"))
        owner = {"owner": {"iss": "https://op", "sub": other.token}}
        write("a.yaml", manifest("a", metadata=owner))
        result = diff("a.yaml")
        assert result.exit_code == 5
        assert "refused  a.yaml:1" in result.stdout

    def test_what_a_source_declares_is_compared_and_what_its_files_lack_is_deleted(
        self, cli, diff, me, *, server, manifest, etc_conf
    ):
        wishes = [wish_of_manifest(manifest(name), etc_conf, vos=(VO,)) for name in ("a", "b")]
        told = {"type": "git", "path": "deploy/b.yaml", "line": "3"}
        read = [SourcedWish(me.owner, me.token, wish, told) for wish in wishes]
        take_in(server.store, SourceRead("site", True, read), DeletionBudget())
        write("specs/a.yaml", manifest("a", hardware={"ram": 9000}))
        result = diff("specs", "--source", "site")
        assert result.exit_code == 1
        assert result.stdout.startswith(f"change  a.yaml:1  {VO}/a: creates\n")
        assert f"delete  deploy/b.yaml:3  {VO}/b: in none of the files\n" in result.stdout
        cli("export", "--all", "-o", "whole")
        assert diff("whole", "--source", "site").exit_code == 0

    def test_c31_links_and_pipes_are_told_and_not_read(self, diff, manifest):
        write("secret.yaml", manifest("secret"))
        write("specs/a.yaml", manifest("a"))
        Path("specs/link.yaml").symlink_to(Path("secret.yaml").absolute())
        Path("specs/up").symlink_to("..")
        os.mkfifo("specs/pipe.yaml")
        with Path("specs/sparse.yaml").open("wb") as sparse:
            sparse.truncate(10**10)
        write("specs/.hidden.yaml", "x: [")
        result = diff("specs")
        assert result.exit_code == 2
        lines = [line for line in result.stdout.splitlines() if line[0] in "fc"]
        assert [line.split("  ")[:2] for line in lines] == [
            ["create", "a.yaml:1"],
            *(["failed", f"{path}:1"] for path in ("link.yaml", "pipe.yaml", "sparse.yaml", "up")),
        ]
        assert "secret/" not in result.stdout


def stored(name: str, *, source: str, sub: str = "me", **metadata: Any) -> dict[str, Any]:
    about = {
        "name": name,
        "vo": VO,
        "uid": name,
        "owner": {"iss": "https://op", "sub": sub},
        "labels": {},
        "annotations": {},
        "source": {"id": source, "path": f"deploy/{name}.yaml", "line": "7"} if source else {},
        **metadata,
    }
    return {"metadata": about, "spec": {"general": {}, "hardware": {}, "storage": {}}}


class Played:
    """A server that has these deployments, and finds every dry run unchanged."""

    def __init__(self, *views: dict[str, Any], roles: tuple[str, ...] = ("user",)) -> None:
        self.views = {v["metadata"]["name"]: v for v in views}
        self.roles = list(roles)
        self.busy = 0

    def __call__(self, asked: Asked) -> Answer:
        match asked.method, asked.path.removeprefix("/v1/").split("/"):
            case "GET", ["whoami"]:
                vos = [{"name": VO, "roles": self.roles}]
                return Answer({"owner": {"iss": "https://op", "sub": "me"}, "vos": vos})
            case "GET", ["auth", "config"]:
                return Answer({"issuers": ["https://op"]})
            case "GET", ["specs"]:
                return Answer({"items": [*self.views.values()], "metadata": {"continue": ""}})
            case "GET", ["specs", name] if name in self.views:
                return Answer(self.views[name])
            case "GET", ["specs", _]:
                return Answer({"reason": "NotFound", "title": "none"}, 404)
            case "PUT", ["specs", name]:
                assert asked.query["dryRun"] == ["true"]
                assert asked.query["takeOver"] == ["true"]
                if self.busy:
                    self.busy -= 1
                    return Answer({"reason": "TooManyRequests", "title": "slow down"}, 429)
                plan = {"effect": "unchanged", "fits": True, "message": ""}
                return Answer({**(self.views.get(name) or stored(name, source="")), "plan": plan})
        raise AssertionError(asked)


@pytest.fixture
def played():
    """Compare the folder `specs` with what a played server has."""

    def compare(played: Played, **options: Any):
        with pretending() as server:
            server.answer = played
            client = Client(Access(read_server(server.address), lambda: "token"))
            comparison = compare_files(client, "specs", **options)
            return comparison, server.asked

    return compare


def told(comparison: Any) -> list[tuple[str, str, str]]:
    return [(f.verdict, f.place, f.message) for f in comparison.findings]


def test_what_a_source_has_and_the_files_have_not_is_deleted(played, manifest):
    write("specs/a.yaml", manifest("a"))
    has = [stored("a", source="s"), stored("gone", source="s"), stored("other", source="t")]
    going = stored("going", source="s", deletionTimestamp="2026-11-24T00:00:00Z")
    waits = stored("waits", source="s", deletionHeld="OverBudget: too many")
    comparison, _ = played(Played(*has, going, waits, stored("mine", source="")), source="s")
    assert told(comparison) == [
        ("unchanged", "a.yaml:1", ""),
        ("delete", "deploy/gone.yaml:7", "in none of the files"),
        ("held", "deploy/waits.yaml:7", "OverBudget: too many"),
    ]
    assert comparison.code == 1
    without, _ = played(Played(*has))
    assert (told(without), without.code) == ([("unchanged", "a.yaml:1", "")], 0)


def test_r15_nothing_is_deleted_while_a_file_cannot_be_read(played, manifest):
    write("specs/a.yaml", manifest("a"))
    Path("specs/bad.yaml").write_text("a: [")
    comparison, _ = played(Played(stored("gone", source="s")), source="s")
    assert [verdict for verdict, *_ in told(comparison)] == ["create", "failed", "held"]
    assert comparison.code == 2


def test_a_source_is_told_whom_it_would_take_from(played, manifest):
    write("specs/a.yaml", manifest("a", metadata={"labels": {}}))
    view = stored("a", source="t", labels={"x": "y"})
    answers = Played(view)
    answers.views["a"] = view
    comparison, _ = played(answers, source="s")
    assert told(comparison)[0][0] == "unchanged"

    class Changed(Played):
        def __call__(self, asked: Asked) -> Answer:
            answer = super().__call__(asked)
            if asked.method == "PUT":
                answer.body["metadata"] = {**answer.body["metadata"], "labels": {"x": "z"}}
            return answer

    for source, manager in (("t", "t"), ("", "people")):
        words = f"managed by {manager} now: s does not get it"
        comparison, _ = played(Changed(stored("a", source=source)), source="s")
        assert told(comparison)[0] == ("change", "a.yaml:1", f"changes nothing that runs; {words}")


def test_an_operator_s_source_is_looked_for_among_everybodys(played, manifest):
    write("specs/a.yaml", manifest("a"))
    gone = stored("gone", source="s", sub="bob")
    comparison, asked = played(Played(gone, roles=("operator",)), source="s")
    assert comparison.findings[-1].owner == "bob"
    assert [one.query for one in asked if one.path == "/v1/specs"] == [{"owner": ["*"]}]


def test_a_server_that_has_enough_is_asked_again_later(played, manifest):
    write("specs/a.yaml", manifest("a"))
    busy, slept = Played(stored("a", source="")), []
    busy.busy = 3
    comparison, _ = played(busy, sleep=slept.append)
    assert (comparison.code, slept) == (0, [5.0] * 3)
    busy.busy = 1000
    with pytest.raises(Refused, match="slow down"):
        played(busy, sleep=slept.append)
