"""The whole OpenAPI document, held against the server by schemathesis: valid and broken requests,
with and without a token. No crash, no answer that is not documented, no body of another shape.

`SCHEMATHESIS_CASES` is the number of cases for each operation.
"""

import os
import re
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import routes
from api.problems import Problem
from api.routers.waits import WAIT_PATTERN
from specs.catalog.reads import CatalogRead, ModuleRead

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "30"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TOKENS = (
    None,
    "nobody",
    "user-one-fuzz",
    "user-several-fuzz",
    "user-operator-fuzz",
    "user-editor-fuzz",
)
NAMES = ("fuzz-a", "fuzz-b")
SCHEMA = schemathesis.openapi.from_dict(routes().openapi())
OPERATIONS = [result.ok() for result in SCHEMA.get_all_operations()]


@pytest.fixture(scope="module")
def there(server):
    """Have something there to be read, changed and deleted."""
    reads = [ModuleRead(name, "v1", "1", {"title": name}) for name in NAMES]
    server.store.put_catalog("fuzz", CatalogRead(reads), rank=0)
    for token in TOKENS[2:]:
        for name in NAMES:
            answer = server.client.put(
                f"/v1/specs/{name}",
                json={"metadata": {"name": name, "vo": "vo.ai4eosc.eu"}, "spec": {}},
                headers={"Authorization": f"Bearer {token}"},
            )
            assert answer.is_success, answer.text
    with requests.Session() as session:
        session.trust_env = False
        yield session
    server.store.forget_catalogs(but=())


def requests_of(operation):
    """Return cases that fit the document, and such as break it where that can be done."""
    fits = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not (list(operation.iter_parameters()) or operation.body):
        return fits
    return st.one_of(fits, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_the_server_does_what_its_document_says(server, there, operation):
    @settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=requests_of(operation), token=st.sampled_from(TOKENS), name=st.data())
    def conforms(case, token, name):
        for word in {"name", "module_name"} & (case.path_parameters or {}).keys():
            if name.draw(st.booleans()):
                case.path_parameters[word] = name.draw(st.sampled_from(NAMES))
        query = case.query or {}
        if re.fullmatch(WAIT_PATTERN, str(query.get("wait", ""))):
            query["wait"] = "0s"  # nobody would ever end these waits
        case.headers.pop("Authorization", None)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = case.call(base_url=server.url, session=there, headers=headers)
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400:
            Problem.model_validate_json(answer.content)

    conforms()


def test_every_operation_is_there():
    paths = {urlsplit(operation.path).path for operation in OPERATIONS}
    assert len(OPERATIONS) >= 25
    assert {"/v1/specs", "/v1/auth/config", "/v1/sources/{source_id}/confirm"} <= paths
