"""What the server says of itself: links, health, documents."""

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest

from api.app import routes
from specs.json_schema import spec_schema

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
HOW = "run `python -m api.app > docs/openapi.json` and look at the difference"


def test_the_root_links_to_everything(server):
    shown = server.client.get("/").json()
    assert shown["name"] == "ai4papi"
    assert shown["versions"] == ["v1"]
    for link in shown["links"].values():
        assert server.client.get(link).status_code == 200


def test_v1_links_to_its_collections(server, me):
    links = server.client.get("/v1").json()["links"]
    for link in links.values():
        assert me.get(link.replace("{module_name}", "some-module")).status_code == 200


def test_where_the_cluster_is_is_not_told(server):
    assert server.client.get("/").json()["cluster"] == "Nomad 2.0.5"
    assert "10.0.0.1" not in server.client.get("/").text


def test_health_follows_the_runtime(server, told):
    assert server.client.get("/livez").json() == {"status": "ok"}
    assert server.client.get("/readyz").json() == {"status": "ok"}
    told["faults"] = ["the oldest due item waits for 90 s"]
    told["ready"] = False
    alive, ready = server.client.get("/livez"), server.client.get("/readyz")
    assert (alive.status_code, ready.status_code) == (503, 503)
    assert alive.json()["causes"][0]["message"] == "the oldest due item waits for 90 s"


def test_the_docs_have_the_authorize_button(server):
    page = server.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    document = server.client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {(s["type"], s.get("scheme")) for s in schemes.values()} == {
        ("http", "bearer"),
        ("apiKey", None),  # a webhook's signature
    }


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_reference_loads_only_what_this_server_has(server, path):
    page = server.client.get(path)
    assert "http" not in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    for name in loaded:
        answer = server.client.get(name)
        assert (answer.status_code, name[0]) == (200, "/"), name


def test_the_committed_document_is_the_servers(server):
    served = server.client.get("/openapi.json").json()
    assert served == routes().openapi()
    assert json.loads(DOCUMENT.read_text()) == served, HOW


def operations():
    for path, methods in routes().openapi()["paths"].items():
        for method, operation in methods.items():
            yield pytest.param(path, operation, id=f"{method.upper()} {path}")


def test_operation_ids_are_unique():
    ids = [param.values[1]["operationId"] for param in operations()]
    assert len(set(ids)) == len(ids) >= 13


@pytest.mark.parametrize(("path", "operation"), list(operations()))
def test_every_route_is_documented(path, operation):
    document = routes().openapi()
    assert operation["operationId"]
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    answers = operation["responses"]
    for status, answer in answers.items():
        if status.startswith("2"):
            content = next(iter(answer["content"].values()))
            assert _example(document, content["schema"])
        elif status != "304":
            schema = answer["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
            assert "application/json" not in answer["content"]
    assert "500" in answers
    if path.startswith("/v1/"):
        assert "422" in answers
        assert {"429", "431"} <= set(answers)
    if path.startswith("/v1/") and operation["security"]:
        assert {"401", "403"} <= set(answers)
    if "requestBody" in operation:
        assert {"400", "413", "415"} <= set(answers)
        assert all(body["example"] for body in operation["requestBody"]["content"].values())


def _example(document, schema):
    while "$ref" in schema or "$ref" in schema.get("items", {}):
        name = schema.get("$ref") or schema["items"]["$ref"]
        schema = document["components"]["schemas"][name.rsplit("/", 1)[1]]
    return schema["examples"]


def test_every_reference_in_the_document_leads_somewhere():
    document = routes().openapi()
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in text


SCHEMA = "/v1/schema/deployment.json"


def test_the_schema_of_a_spec_file_is_open_and_that_of_the_form(server):
    answer = server.client.get(SCHEMA)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    services = server.app.state.services
    assert answer.json() == spec_schema(services.conf, services.priorities, vos=services.login.vos)
    validator = jsonschema_rs.Draft7Validator(answer.json())
    right = {"metadata": {"name": "a"}, "spec": {"hardware": {"gpu": 1}}}
    assert validator.is_valid(right)
    assert not validator.is_valid(right | {"spce": {}})


def test_who_has_the_schema_is_not_sent_it_again(server):
    etag = server.client.get(SCHEMA).headers["etag"]
    again = server.client.get(SCHEMA, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert server.client.get(SCHEMA, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_schema_takes_no_parameter(server):
    assert server.client.get(SCHEMA, params={"vo": "x"}).status_code == 422
