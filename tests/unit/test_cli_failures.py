"""From the server's answer to an exit code and the lines on standard error."""

import pytest

from api.cli.failures import Code, refused


def problem(reason: str, **more: object) -> dict[str, object]:
    return {"title": "T", "detail": "D", "reason": reason, "causes": [], "hint": "H", **more}


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (400, "UnreadableBody", Code.FAILED),
        (401, "NotAuthenticated", Code.NOT_ALLOWED),
        (403, "Forbidden", Code.NOT_ALLOWED),
        (404, "NotFound", Code.NOT_FOUND),
        (404, "NoSuchRoute", Code.FAILED),
        (404, "NoSuchModule", Code.NOT_FOUND),
        (409, "AlreadyExists", Code.CONFLICT),
        (412, "VersionConflict", Code.CONFLICT),
        (422, "InvalidSpec", Code.FAILED),
        (422, "QuotaExceeded", Code.POLICY),
        (403, "PolicyDenied", Code.POLICY),
        (429, "TooManyRequests", Code.FAILED),
        (500, "InternalError", Code.FAILED),
    ],
)
def test_a_problem_becomes_its_exit_code(status: int, reason: str, code: Code) -> None:
    assert refused(status, problem(reason), server="S").code is code


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, None, Code.FAILED),
        (404, {"detail": "Not Found"}, Code.FAILED),
        (404, ["NotFound"], Code.FAILED),
        (404, {"reason": 4}, Code.FAILED),
        (401, None, Code.NOT_ALLOWED),
        (502, "<html>", Code.FAILED),
    ],
)
def test_an_answer_without_a_problem_says_nothing_about_the_deployment(
    status: int, body: object, code: Code
) -> None:
    failure = refused(status, body, server="http://s")
    assert failure.code is code
    assert f"http://s answered {status}" in failure.message


def test_causes_come_one_per_line_then_a_hint_and_the_next_command() -> None:
    causes = [
        {"pointer": "/spec/a", "code": "X", "message": "7 is not in 1 to 5", "allowed": "1 to 5"},
        {"pointer": "", "code": "X", "message": "is a \x1b list", "allowed": "a mapping"},
    ]
    lines = refused(409, problem("AlreadyExists", causes=causes), server="S").lines()
    assert lines == [
        "error: T",
        "  /spec/a: 7 is not in 1 to 5",
        "  /: is a \\x1b list (allowed: a mapping)",
        "hint: H",
        "next: ai4papi get -o yaml",
    ]


def test_a_broken_server_is_named_with_the_request_that_its_operator_can_look_up() -> None:
    failure = refused(500, problem("InternalError", requestId="abc"), server="S")
    assert failure.message == "T: D (request abc)"
