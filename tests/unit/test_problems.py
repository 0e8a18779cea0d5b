"""Every refusal becomes one problem, by one table."""

import json
import re

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.auth import NotAuthenticated
from api.problems import (
    HTTP_KINDS,
    INTERNAL,
    KINDS,
    SHOWN_CAUSES,
    BodyTooLarge,
    ClusterSilent,
    NotHealthy,
    NotLocal,
    RequestError,
    UnsupportedMedia,
    documented,
    problem_of,
    response_of,
)
from specs import faults
from specs.faults import (
    AlreadyExists,
    Fault,
    Forbidden,
    InvalidSpec,
    NotFound,
    StoreFull,
    StoreUnavailable,
    VersionConflict,
)
from specs.json_text import UnreadableJson

FAULT = Fault("/spec/hardware/ram", "OutOfRange", "-5 is too little", "256 to 1000000")


def problem(error):
    return problem_of(error, instance="/v1/specs/a", request_id="r1")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (InvalidSpec([FAULT]), 422, "InvalidSpec"),
        (NotFound("none"), 404, "NotFound"),
        (Forbidden("no"), 403, "Forbidden"),
        (AlreadyExists("taken"), 409, "AlreadyExists"),
        (VersionConflict("moved"), 412, "VersionConflict"),
        (StoreUnavailable("locked"), 503, "StoreUnavailable"),
        (StoreFull("no room"), 507, "StoreFull"),
        (ClusterSilent("no answer"), 503, "ClusterUnavailable"),
        (NotAuthenticated("who"), 401, "NotAuthenticated"),
        (UnreadableJson("bad"), 400, "UnreadableBody"),
        (UnsupportedMedia("yaml"), 415, "UnsupportedMediaType"),
        (BodyTooLarge("10 MB"), 413, "BodyTooLarge"),
        (NotLocal("far"), 403, "NotLocal"),
        (NotHealthy(["stuck"]), 503, "NotHealthy"),
        (RequestValidationError([]), 422, "InvalidParameter"),
        (HTTPException(404), 404, "NoSuchRoute"),
        (HTTPException(405), 405, "MethodNotAllowed"),
        (HTTPException(418), 500, "InternalError"),
        (RuntimeError("secret words"), 500, "InternalError"),
        (type("Narrower", (NotFound,), {})("none"), 404, "NotFound"),
    ],
)
def test_an_error_has_its_status_and_reason(error, status, reason):
    told = problem(error)
    assert (told.status, told.reason) == (status, reason)
    assert told.type == f"urn:ai4papi:problem:{reason}"
    assert told.title
    assert told.detail
    assert told.hint


def test_every_error_that_a_face_translates_is_in_the_table():
    kinds = [k for k in vars(faults).values() if isinstance(k, type) and issubclass(k, Exception)]
    spec_errors = [k for k in kinds if k.__mro__[1] is faults.SpecError]
    assert spec_errors
    for kind in (*spec_errors, *RequestError.__subclasses__()):
        assert kind in KINDS


def test_reasons_are_camel_case_and_mean_one_thing():
    kinds = [*KINDS.values(), *HTTP_KINDS.values(), INTERNAL]
    assert all(re.fullmatch(r"([A-Z][a-z]+)+", kind.reason) for kind in kinds)
    assert len({kind.reason for kind in kinds}) == len(kinds)


def test_each_fault_is_a_cause_with_its_pointer():
    assert [c.model_dump() for c in problem(InvalidSpec([FAULT, FAULT])).causes] == [
        {
            "pointer": "/spec/hardware/ram",
            "code": "OutOfRange",
            "message": "-5 is too little",
            "allowed": "256 to 1000000",
        }
    ] * 2


def test_a_parameter_is_a_cause_without_the_echo_of_its_value():
    error = RequestValidationError(
        [{"loc": ("query", "limit"), "type": "int_parsing", "msg": "no number", "input": "hush"}]
    )
    told = problem(error)
    assert told.causes[0].pointer == "/query/limit"
    assert told.causes[0].code == "IntParsing"
    assert "hush" not in told.model_dump_json()


def test_an_internal_error_keeps_its_words_to_itself():
    assert "secret words" not in problem(RuntimeError("secret words")).model_dump_json()


def test_half_a_surrogate_pair_and_a_flood_are_told_in_short():
    faults = [Fault("/\ud800" + "x" * 10_000, "NoText", "\udfff" * 10_000)] * 5000
    response = response_of(InvalidSpec(faults), instance="/\ud800", request_id="r")
    told = json.loads(response.body)
    assert len(told["causes"]) == SHOWN_CAUSES
    assert len(response.body) < 2_000_000


def test_who_is_not_logged_in_is_told_how():
    response = response_of(NotAuthenticated("who"), instance="/", request_id="r")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"


def test_a_wrong_method_is_told_the_right_ones():
    error = HTTPException(405, headers={"Allow": "GET"})
    assert response_of(error, instance="/", request_id="r").headers["allow"] == "GET"


def test_documented_statuses_name_their_schema():
    for answer in documented(404, 422, 500).values():
        assert answer["description"]
        schema = answer["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.parametrize(
    "error", [StoreUnavailable("locked"), StoreFull("no room"), ClusterSilent()]
)
def test_what_may_pass_says_when_to_try_again(error):
    response = response_of(error, instance="/v1/specs/a", request_id="r1")
    assert int(response.headers["retry-after"]) > 0


def test_what_stays_refused_names_no_time():
    response = response_of(NotFound("none"), instance="/v1/specs/a", request_id="r1")
    assert "retry-after" not in response.headers
