"""What a pass over spec files, or a comparison with them, tells CI and people (pure).

Every text in a finding is hostile: names of files, what stands in them, and the cluster's words.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args
from xml.etree import ElementTree as ET

Verdict: TypeAlias = Literal["failed", "refused", "held", "delete", "create", "change", "unchanged"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
"""The gravest first."""

BAD: Final = frozenset({"failed", "refused", "held"})
"""Verdicts that a person has to do something about."""

MAX_MARKDOWN: Final = 60_000
"""Characters of a comment. GitHub takes 65,536."""

_MAX_ROWS: Final = MAX_MARKDOWN // 2
_MAX_CELL: Final = 300
_MAX_BLOCK: Final = 12_000

_WORDS: Final = {
    "failed": "failed",
    "refused": "refused",
    "held": "held",
    "delete": "to delete",
    "create": "to create",
    "change": "to change",
    "unchanged": "unchanged",
}
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_PUNCTUATION: Final = re.compile(r"[!-/:-@\[-`{-~]")


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one document of a file, or would; or what is wrong with a file.

    `name` is "" where no deployment can be told, `owner` where it is the caller's own, `path` where
    the deployment is in no file. `effect` is the plan's word (`restarts`), "" without a plan,
    `message` a sentence, `details` several lines: a unified diff, or faults.
    """

    name: str
    vo: str
    owner: str
    path: str
    line: int
    verdict: Verdict
    message: str = ""
    details: str = ""
    effect: str = ""

    @property
    def place(self) -> str:
        """Where it stands: `path:line`, as much of it as is known."""
        return f"{self.path}:{self.line}" if self.path and self.line else self.path

    @property
    def deployment(self) -> str:
        """Which deployment it is about: `vo/owner/name`, as much of it as is known."""
        return "/".join(filter(None, (self.vo, self.owner, self.name)))


def counts(findings: Sequence[Finding]) -> dict[Verdict, int]:
    """Return how many findings there are of each verdict that is there, the gravest first."""
    found = Counter(finding.verdict for finding in findings)
    return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}


def as_summary(findings: Sequence[Finding]) -> str:
    """Return one line: `1 refused, 2 to change, 40 unchanged`."""
    told = [f"{count} {_WORDS[verdict]}" for verdict, count in counts(findings).items()]
    return ", ".join(told) or "nothing to compare"


def as_lines(findings: Sequence[Finding]) -> list[str]:
    """Return the lines for a terminal, without control characters; details are indented by two."""
    return [line for finding in findings for line in _lines(finding)]


def as_junit(findings: Sequence[Finding], *, title: str) -> str:
    """Return JUnit XML, a test case for each finding; what is `BAD` is a failure."""
    bad = sum(finding.verdict in BAD for finding in findings)
    totals = {"tests": str(len(findings)), "failures": str(bad)}
    more = {"errors": "0", "skipped": "0", "time": "0"}
    root = ET.Element("testsuites", {"name": _dropped(title), **totals, "errors": "0", "time": "0"})
    suite = ET.SubElement(root, "testsuite", {"name": _dropped(title), **totals, **more})
    for finding in findings:
        _case(suite, finding)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def as_markdown(findings: Sequence[Finding], *, title: str = "Deployments") -> str:
    """Return the body of a comment, of up to `MAX_MARKDOWN` characters.

    A line of counts, a table of all that is not unchanged, the gravest first, and for each that has
    details a block to open.
    """
    told = [finding for finding in findings if finding.verdict != "unchanged"]
    told.sort(key=lambda finding: VERDICTS.index(finding.verdict))
    parts = [f"**{_escaped(_cut(title, _MAX_CELL))}:** {as_summary(findings)}\n"]
    if told:
        parts.append(_table(told))
    left = MAX_MARKDOWN - sum(map(len, parts)) - 100
    blocks = [_block(finding) for finding in told if finding.details]
    for done, block in enumerate(blocks):
        left -= len(block)
        if left < 0:
            parts.append(f"\nThe details of {len(blocks) - done} more are left out.\n")
            break
        parts.append(block)
    return "".join(parts)


def _lines(finding: Finding) -> Iterator[str]:
    what = ": ".join(filter(None, (finding.deployment, finding.message)))
    yield _escaped_control("  ".join(filter(None, (finding.verdict, finding.place, what))))
    for line in finding.details.splitlines():
        yield "  " + _escaped_control(line)


def _case(suite: ET.Element, finding: Finding) -> None:
    path = _dropped(finding.path)
    name = _dropped(finding.deployment) or path or "unknown"
    said = {"name": name, "classname": path or "in no file", "time": "0"}
    case = ET.SubElement(suite, "testcase", said)
    text = "\n".join(filter(None, (finding.place, finding.message, finding.details)))
    if finding.verdict in BAD:
        why = {"type": finding.verdict, "message": _dropped(finding.message)}
        ET.SubElement(case, "failure", why).text = _dropped(text)
    else:
        out = "\n".join((finding.verdict, text))
        ET.SubElement(case, "system-out").text = _dropped(out)


def _table(findings: Sequence[Finding]) -> str:
    rows = ["\n| | deployment | file | what |\n|---|---|---|---|\n"]
    left = _MAX_ROWS
    for done, finding in enumerate(findings):
        cells = (finding.deployment, finding.place, finding.message)
        row = f"| {finding.verdict} | {' | '.join(map(_cell, cells))} |\n"
        left -= len(row)
        if left < 0:
            rows.append(f"\nand {len(findings) - done} more\n")
            break
        rows.append(row)
    return "".join(rows)


def _cell(text: str) -> str:
    return f"<code>{_escaped(_cut(text, _MAX_CELL))}</code>" if text else ""


def _block(finding: Finding) -> str:
    """Return the details in a fence that nothing in them can close."""
    text = _cut(_INVISIBLE.sub("", finding.details).strip("\n"), _MAX_BLOCK)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    title = _escaped(_cut(": ".join(filter(None, (finding.place, finding.deployment))), _MAX_CELL))
    head = f"\n<details><summary>{finding.verdict} <code>{title}</code></summary>\n\n"
    return f"{head}{fence}diff\n{text}\n{fence}\n\n</details>\n"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + " … cut"


def _escaped(text: str) -> str:
    """Return a text that Markdown and HTML show as it is.

    Between `<code>` and `</code>` it mentions nobody and links nowhere either: GitHub looks for
    those in what the page shows, where nothing is escaped any more, but not in code.
    """
    return _PUNCTUATION.sub(
        lambda found: f"&#{ord(found[0])};", " ".join(_INVISIBLE.sub("", text).split())
    )


def _dropped(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _escaped_control(text: str) -> str:
    return _INVISIBLE.sub(lambda found: repr(found[0])[1:-1], text).replace("\n", " ")
