import io
import json
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import logs
from reconciler.logs import JsonLines, ShortLines, safe

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL29wIiwic3ViIjoiYSJ9.c2lnbmF0dXJl"
OPAQUE = "q8Zt-31xPvKw_77bHsYeLd20"


def written(formatter, record):
    door = logging.StreamHandler(io.StringIO())
    door.setFormatter(formatter)
    door.handle(record)
    return door.stream.getvalue()


def record(message, *args, error=None, **fields):
    info = error and (type(error), error, error.__traceback__)
    made = logging.LogRecord("some.library", logging.DEBUG, "", 0, message, args, info)
    made.__dict__.update(fields)
    return made


@pytest.fixture(params=[JsonLines, ShortLines])
def formatter(request):
    return request.param()


SECRETS = [
    (f"Authorization: Bearer {JWT}", JWT),
    (f"authorization: bearer {OPAQUE}", OPAQUE),
    (f"{{'Authorization': 'Bearer {OPAQUE}'}}", OPAQUE),
    (f"{{'Authorization': 'Basic {OPAQUE.replace('-', '+').replace('_', '/')}'}}", "31xPvKw/77bHs"),
    (f"token {JWT} was refused", JWT),
    (f"x{JWT}", JWT[10:]),
    (f"JWE {JWT}.abc.def", JWT),
    (f'"GET /v1/specs?access_token={OPAQUE}&vo=a HTTP/1.1" 200', OPAQUE),
    (f"POST /token body: grant_type=password&username=a&password={OPAQUE}", OPAQUE),
    (f"refresh_token={OPAQUE}", OPAQUE),
    (f"client_secret = {OPAQUE}", OPAQUE),
    (f"device_code={OPAQUE}", OPAQUE),
    (f"X-Nomad-Token: {OPAQUE}", OPAQUE),
    (f"{{'X-Nomad-Token': '{OPAQUE}'}}", OPAQUE),
    (f'{{"storage": {{"rclone_password": "{OPAQUE}"}}}}', OPAQUE),
    (f'\'{{"rclone_password": "correct horse {OPAQUE}"}}\'', OPAQUE),
    (f'{{\\"jupyter_password\\": \\"{OPAQUE} staple\\"}}', "staple"),
    (f"[remote]\npass = {OPAQUE}", OPAQUE),
    (f"can't connect to postgresql+psycopg://ai4papi:{OPAQUE}@db:5432/x", OPAQUE),
    (f"NOMAD_TOKEN={OPAQUE}", OPAQUE),
    (f"RCLONE_CONFIG_PASSWORD={OPAQUE}", OPAQUE),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_t34_no_secret_is_written_wherever_it_stands(formatter, text, secret):
    for told in (
        record(text),
        record("said %s", text),
        record("said %(what)s", {"what": text}),
        record("refused", why=text),
        record("refused", why={"deep": [text]}),
        record("request failed", error=RuntimeError(text)),
        record("too many arguments", text, text),
        record(text + " %d", "no number"),
    ):
        assert secret not in written(formatter, told)


def test_a_secret_that_is_cut_in_two_is_masked_all_the_same(formatter):
    text = "x" * 1980 + " Bearer " + JWT
    assert "eyJ" not in written(formatter, record(text))


@pytest.mark.parametrize("name", ["token", "local_token", "password", "client_secret", "apiKey"])
def test_a_field_with_the_name_of_a_secret_is_masked_whatever_it_holds(formatter, name):
    line = written(formatter, record("read", **{name: "s3cret"}))
    assert "s3cret" not in line
    assert "***" in line


@pytest.mark.parametrize(
    "text",
    [
        "look done",
        "5f0c2a41d2f94c4f8f0a6a2f6d1f3b7e",
        "https://aai.egi.eu/auth/realms/egi",
        "vo.ai4eosc.eu",
        "http://127.0.0.1:4646/v1/job/0b9f3a52-6c0e-4c83-9f2e-2f1d4f6b7a10?namespace=ai4eosc",
        "reconciler.cluster.nomad",
        "key=value, other: 5",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text):
    assert safe(text) == text


NASTY = [
    "a\nlevel=error forged",
    "a\r\nb",
    "\x1b[2J\x1b[31m",
    "a\u2028b\u0085c",
    "\u202egnp",
    "\ud800",
]


@pytest.mark.parametrize("text", NASTY)
def test_c21_one_event_is_one_line_without_control_characters(formatter, text):
    for told in (record(text), record("job seen", job_id=text), record("%s", text)):
        line = written(formatter, told)
        assert line.endswith("\n")
        assert line[:-1].isprintable()


def test_c21_an_errors_text_looks_like_no_event_of_its_own():
    forged = RuntimeError("x\n12:00:00 info    request denied\x1b[2J")
    first, *rest = written(ShortLines(), record("failed", error=forged)).splitlines()
    assert first.endswith("failed")
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    line = written(JsonLines(), record("failed", error=forged))
    assert "forged" not in json.loads(line)
    assert line.count("\n") == 1


def test_c21_json_can_not_be_broken_out_of():
    line = written(JsonLines(), record('a", "level": "x', job_id='b"}\n{"level": "y"}', odd="%s%n"))
    told = json.loads(line)
    assert told["level"] == "debug"
    assert told["message"] == 'a", "level": "x'
    assert told["job_id"] == 'b"}\n{"level": "y"}'
    assert told["odd"] == "%s%n"


def test_c21_a_megabyte_is_cut(formatter):
    big = "x" * 1_000_000
    assert len(written(formatter, record(big, job_id=big))) < 5_000
    assert len(written(formatter, record("failed", error=RuntimeError(big)))) < 25_000


@pytest.mark.parametrize(
    "part", ["token", "eyJ", "eyJa-", "://a:", "bearer ", "a" * 17 + ".", "\\", '\\"', 'secret="\\']
)
def test_hostile_text_costs_no_more_than_its_length(part):
    text = part * (20_000 // len(part))
    began = time.process_time()
    safe(text, at_most=20_000)
    assert time.process_time() - began < 0.5


@given(st.text(alphabet="abeyJBSICrs0123456789_-/{} .:=", max_size=200))
def test_what_is_passed_over_is_what_no_mask_would_change(text):
    if logs._HARMLESS.fullmatch(text):
        masked = text
        for pattern, mask in logs._MASKS:
            masked = pattern.sub(mask, masked)
        assert masked == text


@pytest.mark.parametrize("text", ["request answered", "127.0.0.1", "::ffff:10.0.0.1", "readSpec"])
def test_what_every_line_has_is_passed_over(text):
    assert logs._HARMLESS.fullmatch(text)
