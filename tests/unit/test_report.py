"""What findings look like to CI, in a comment and on a terminal."""

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.report import (
    BAD,
    MAX_MARKDOWN,
    VERDICTS,
    Finding,
    as_junit,
    as_lines,
    as_markdown,
    as_summary,
    counts,
)

markdown_it = pytest.importorskip(
    "markdown_it", reason="needs markdown-it-py, which comes with rich"
)

NASTY = st.text(
    st.one_of(
        st.sampled_from("`|<>&@#*_~[]()!\\\n\r\t\x00\x1b\u2028\u202e-+:./ "),
        st.characters(),
    ),
    max_size=60,
) | st.sampled_from(
    [
        "</code></td></table><script>alert(1)</script>",
        "</details>\n\n# owned @everyone",
        "`````\n</details>",
        "\r```\r</details>",
        "<!-- ",
        "https://evil.example www.evil.example a@b.example #1 owner/repo#1 @org/team",
        "[x](javascript:alert(1)) ![x](https://evil.example/p.png)",
        "| a | b |\n|---|---|",
        "]]>",
        "&#64;org",
    ]
)
FINDINGS = st.builds(
    Finding,
    name=NASTY,
    vo=NASTY,
    owner=NASTY,
    path=NASTY,
    line=st.integers(0, 10**6),
    verdict=st.sampled_from(VERDICTS),
    message=NASTY,
    details=NASTY,
)


def finding(verdict: Any = "change", **said: Any) -> Finding:
    usual = {"name": "train-a", "vo": "vo.x", "owner": "", "path": "deploy/a.yaml", "line": 3}
    return Finding(**{**usual, "message": "restarts", **said}, verdict=verdict)


def parsed(text: str) -> Sequence[Any]:
    return markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)


def visible(text: str) -> str:
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def test_counts_are_told_the_gravest_first() -> None:
    told = [finding("unchanged"), finding(), finding("refused"), finding("unchanged")]
    assert counts(told) == {"refused": 1, "change": 1, "unchanged": 2}
    assert as_summary(told) == "1 refused, 1 to change, 2 unchanged"
    assert as_summary([]) == "nothing to compare"


def test_lines_say_verdict_place_deployment_and_why() -> None:
    lines = as_lines([finding(owner="alice", details="-a\n+b"), finding("failed", name="", vo="")])
    assert lines == [
        "change  deploy/a.yaml:3  vo.x/alice/train-a: restarts",
        "  -a",
        "  +b",
        "failed  deploy/a.yaml:3  restarts",
    ]


@given(st.lists(FINDINGS, max_size=4))
def test_no_line_drives_a_terminal(findings: list[Finding]) -> None:
    for line in as_lines(findings):
        assert not any((c < " " and c != "\t") or c in "\x7f\x1b\u202e\u2028\r" for c in line)


@given(st.lists(FINDINGS, max_size=4), NASTY)
def test_junit_is_xml_with_a_case_for_each_and_a_failure_for_the_bad(
    findings: list[Finding], title: str
) -> None:
    root = ET.fromstring(as_junit(findings, title=title).encode())
    cases = root.findall("./testsuite/testcase")
    assert [bool(case.findall("failure")) for case in cases] == [
        one.verdict in BAD for one in findings
    ]
    assert all(case.get("name") is not None and case.get("classname") for case in cases)
    suite = root.find("testsuite")
    assert suite is not None
    bad = sum(one.verdict in BAD for one in findings)
    assert (suite.get("tests"), suite.get("failures")) == (str(len(findings)), str(bad))
    assert {e.tag for e in root.iter()} <= {
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "system-out",
    }


def test_junit_says_where_and_what() -> None:
    text = as_junit([finding("refused", message="<no>", details="two\nlines")], title="diff")
    failure = ET.fromstring(text.encode()).find(".//failure")
    assert failure is not None
    assert failure.attrib == {"type": "refused", "message": "<no>"}
    assert failure.text == "deploy/a.yaml:3\n<no>\ntwo\nlines"
    assert ET.fromstring(text.encode()).find(".//testcase").attrib == {  # type: ignore[union-attr]
        "name": "vo.x/train-a",
        "classname": "deploy/a.yaml",
        "time": "0",
    }


def test_a_comment_has_counts_a_table_and_the_diffs() -> None:
    told = [finding("unchanged", name="b"), finding(details="-ram: 1\n+ram: 2"), finding("failed")]
    text = as_markdown(told, title="Spec files")
    assert text.startswith("**Spec files:** 1 failed, 1 to change, 1 unchanged\n\n| |")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == ["| failed", "| change"]
    assert "```diff\n-ram: 1\n+ram: 2\n```\n\n</details>" in text


@given(st.lists(FINDINGS, max_size=4))
def test_nothing_breaks_out_of_a_cell_a_fence_or_a_block(findings: list[Finding]) -> None:
    """C31, C38: names of files and what stands in them are other people's."""
    tokens = parsed(as_markdown(findings))
    shown = [one for one in findings if one.verdict != "unchanged"]
    assert sum(t.type == "tr_open" for t in tokens) == (len(shown) + 1 if shown else 0)
    assert sum(t.type in {"td_open", "th_open"} for t in tokens) == (
        4 * (len(shown) + 1) if shown else 0
    )
    inner = [t for token in tokens for t in token.children or ()]
    assert {t.type for t in inner} <= {
        "text",
        "text_special",
        "strong_open",
        "strong_close",
        "html_inline",
    }
    assert {t.content for t in inner if t.type == "html_inline"} <= {"<code>", "</code>"}
    blocks = [t.content.strip() for t in tokens if t.type == "html_block"]
    detailed = [one for one in shown if one.details]
    assert len(blocks) == 2 * len(detailed)
    assert blocks[1::2] == ["</details>"] * len(detailed)
    for head in blocks[::2]:
        assert head.startswith("<details><summary>")
        inside = head.split("<code>", 1)[1].removesuffix("</code></summary>")
        assert "<" not in inside
    assert sum(t.type == "fence" for t in tokens) == len(detailed)
    kinds = {t.type for t in tokens}
    assert not kinds & {"heading_open", "blockquote_open", "bullet_list_open", "code_block"}


@given(FINDINGS)
def test_what_stands_in_a_cell_is_what_was_said(one: Finding) -> None:
    rows = [t for t in parsed(as_markdown([one])) if t.type == "inline"]
    texts = [
        "".join(t.content for t in row.children if t.type in {"text", "text_special"})
        for row in rows
    ]
    if one.verdict != "unchanged":
        expected = "".join(visible(one.message))
        assert visible(texts[-1]).replace(" ", "") == expected.replace(" ", "")


def test_mentions_and_references_stand_in_code_only() -> None:
    text = as_markdown([finding(name="@org/team", message="#1 @me", path="@x/a.yaml")])
    assert "@" not in text
    assert text.count("<code>") == 3


@pytest.mark.parametrize("details", ["", "x" * 70_000, "`" * 50_000, "🎉\n" * 9000])
def test_a_comment_is_never_longer_than_github_takes(details: str) -> None:
    text = as_markdown([finding(message="|" * 5000, details=details) for _ in range(500)])
    assert len(text) <= MAX_MARKDOWN
    assert " more" in text
    assert sum(t.type == "fence" for t in parsed(text)) == text.count("</details>")
