"""What a user may try to smuggle in through a spec: texts, keys, names and numbers.

A test names the rows of the list of attacks that it covers. What becomes of a job with what is
taken is read back from Nomad in `tests/contract/test_cluster_golden.py`.
"""

import json
import logging
import select
import socket

import pytest

from reconciler.logs import JsonLines, ShortLines
from tests.builders import a_spec

JSON = {"Content-Type": "application/json"}

TEXTS = [("general", key) for key in ("title", "desc", "docker_image", "docker_tag", "service")] + [
    ("hardware", "gpu_type")
]
TEXTS += [("storage", key) for key in ("rclone_conf", "rclone_url", "rclone_vendor", "rclone_user")]
SECRETS = [("general", "jupyter_password"), ("storage", "rclone_password")]
NUMBERS = ("cpu_num", "gpu_num", "ram", "disk", "gpu")

EXPANDED = ["x${attr.unique.hostname}", "$${x}", "%{ if true }x%{ endif }", "${", "a%{"]
CONTROL = [
    "a\x07b",
    "\x1b[31mred",
    "a\rb",
    "a\x7f",
    "a\x85b",
    "\u202etxt.exe",
    "a\u2028b",
    "\u2066",
]
NO_TEXT = ["nul\0", "\ud800", "a\udfffb"]
PLAIN = ["{{ env `NOMAD_TOKEN` }}", 'it\'s "quoted"', "back\\slash", "$HOME `id` $(id)", "<b>&amp;"]


def refused(me, body, *, route="/v1/specs"):
    """Return {pointer: code} of a refusal that left nothing behind."""
    answer = me.post(route, content=text_of(body), headers=JSON)
    assert answer.status_code == 422, answer.text
    assert me.get("/v1/specs").json()["items"] == []
    return {cause["pointer"]: cause["code"] for cause in answer.json()["causes"]}


def text_of(body):
    """Return JSON with surrogates written as escapes, as an attacker would."""
    return body if isinstance(body, str) else json.dumps(body)


@pytest.mark.parametrize(("group", "key"), TEXTS)
@pytest.mark.parametrize("text", EXPANDED + CONTROL + NO_TEXT)
def test_what_would_be_expanded_or_is_no_printable_text_is_refused_at_its_field(
    me, manifest, group, key, text
):
    """C11, in both bodies."""
    at = f"/{group}/{key}"
    assert f"/spec{at}" in refused(me, manifest(**{group: {key: text}}))
    assert at in refused(me, {group: {key: text}}, route="/v1/deployments")


@pytest.mark.parametrize(("group", "key"), SECRETS)
@pytest.mark.parametrize("text", NO_TEXT)
def test_a_secret_that_no_environment_can_carry_is_refused_and_not_repeated(
    me, manifest, group, key, text
):
    """C11"""
    body = manifest(**{group: {key: f"s3cret-s3cret{text}"}})
    answer = me.post("/v1/specs", content=json.dumps(body), headers=JSON)
    assert answer.status_code == 422
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("key", ["title", "desc"])
@pytest.mark.parametrize("text", PLAIN)
def test_what_means_something_elsewhere_is_text_here(me, manifest, key, text):
    """C11, C22: kept as typed, and told as JSON that no browser takes for a page."""
    assert me.post("/v1/specs", json=manifest(general={key: text})).status_code == 201
    for path in ("/v1/specs", "/v1/specs/train-a", "/v1/deployments"):
        answer = me.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert json.dumps(text) in answer.text
    assert me.get("/v1/specs/train-a").json()["spec"]["general"][key] == text


@pytest.mark.parametrize("name", ["a${b}", "a b", "a\n", "a\0", "../x", "a/b", "A", "x" * 64, "é"])
def test_a_name_is_a_dns_label(me, manifest, name):
    """C11, C18: names of jobs and services are made of it."""
    assert refused(me, manifest(name)) == {"/metadata/name": "BadName"}


@pytest.mark.parametrize(
    "variable",
    ["PATH", "LD_PRELOAD", "NOMAD_TOKEN", "NOMAD_ADDR", "VAULT_TOKEN", "http_proxy", "1A", "A=B"],
)
@pytest.mark.parametrize("word", ["env", "Env", "environment"])
def test_no_environment_variable_can_be_said(me, manifest, word, variable):
    """C12: which variables there are is the template's to say."""
    said = {word: {variable: "x"}}
    assert refused(me, manifest(**said)) == {f"/spec/{word}": "UnknownKey"}
    for group in ("general", "hardware", "storage"):
        assert refused(me, manifest(**{group: said})) == {f"/spec/{group}/{word}": "UnknownKey"}


@pytest.mark.parametrize(
    "image",
    [
        "",
        "a b",
        "--privileged",
        "-v/:/host",
        "docker://x",
        "http://x/y",
        "Upper/x",
        "x\n",
        "../x",
        "/x",
        "x/",
        "x//y",
        "x@",
        "x@sha256:0f",
        "x@md5:" + "0" * 64,
        "x:" + "a" * 129,
        "x:-a",
        "x:latest\n",
        "x;id",
        "x$(id)",
        "\uff58/y",
        "x" * 256,
        "x" * 100 + ":5000000/y",
    ],
)
def test_what_is_no_image_reference_is_refused(me, manifest, image):
    """C13"""
    at = {"/spec/general/docker_image", "/spec/general/docker_tag"}
    assert set(refused(me, manifest(general={"docker_image": image}))) <= at


NOMADS_OWN = """
template artifact volume csi connect identity vault consul lifecycle dispatch_payload periodic
multiregion scaling ui meta
config privileged cap_add network_mode pid_mode ipc_mode userns_mode volumes mounts devices
security_opt sysctl ulimit entrypoint extra_hosts auth logging
driver raw_exec exec java qemu
constraints affinities node_pool datacenters priority namespace region all_at_once
ports network host_network services tags hostname router middleware
"""


@pytest.mark.parametrize("key", NOMADS_OWN.split())
def test_nothing_of_nomads_own_can_be_said_at_any_place(me, manifest, key):
    """C14, C15, C16, C17, C18: in any case of letters."""
    words = {key.lower(), key.upper(), key.capitalize()}

    def unknown(at):
        return {f"{at}/{word}": "UnknownKey" for word in words}

    for where in ("general", "hardware", "storage", "update"):
        body = manifest(**{where: dict.fromkeys(words, "x")})
        assert refused(me, body) == unknown(f"/spec/{where}")
    said = {word: [{}] for word in words}
    assert refused(me, manifest(**said)) == unknown("/spec")
    assert refused(me, manifest() | said) == unknown("")
    assert refused(me, manifest(metadata=said)) == unknown("/metadata")
    assert refused(me, said, route="/v1/deployments") == unknown("")


def test_a_patch_brings_in_no_unknown_key_either(me, manifest):
    """C14, C15"""
    made = me.post("/v1/specs", json=manifest()).json()
    for patch in ({"spec": {"template": {}}}, {"spec": {"general": {"config": {}}}}, {"Job": {}}):
        answer = me.patch("/v1/specs/train-a", json=patch)
        assert answer.status_code == 422
        assert {cause["code"] for cause in answer.json()["causes"]} == {"UnknownKey"}
    assert me.get("/v1/specs/train-a").json() == made


@pytest.fixture
def trap():
    """A listening port that nobody should ever call; it gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        host, port = door.getsockname()
        yield f"{host}:{port}"
        called, _, _ = select.select([door], [], [], 0)
        assert not called, "somebody called an address that a user wrote"


def test_no_address_that_a_user_wrote_is_called(trap, me, manifest, whole):
    """C19: neither by the API nor by the loop."""
    url = f"http://{trap}/"
    spec = manifest(
        general={"title": url, "desc": url, "docker_image": f"{trap}/a/b"},
        storage={"rclone_url": url, "rclone_user": "u", "rclone_conf": url},
    )
    assert me.post("/v1/specs?dryRun=true", json=spec).status_code == 200
    assert me.post("/v1/specs", json=spec).status_code == 201
    for path in ("", "/status", "/plan", "/events", "/history"):
        assert me.get(f"/v1/specs/train-a{path}").status_code == 200
    assert me.get("/v1/deployments").status_code == 200
    whole.put(spec=a_spec(title=url, docker_image=f"{trap}/a/b", rclone_url=url, rclone_user="u"))
    whole.settle()
    whole.pass_time(20)


@pytest.mark.parametrize(
    "module",
    [
        "../../etc/passwd",
        "%2e%2e",
        "..;/",
        "..",
        ".",
        ".git",
        "/etc",
        "a/../b",
        "a\\b",
        "",
        " ",
        "a\n",
        "a\0",
        "a\u202e",
        "a:b",
        "a@b",
        "${attr.x}",
        "x" * 256,
        5,
        True,
        [],
        {"a": 1},
    ],
)
def test_what_can_be_no_module_is_refused(me, manifest, module):
    """C20: a module's name is never joined to a path; it becomes the last part of an image."""
    assert refused(me, manifest(module=module))["/spec/module"] in ("BadModule", "NoText")


@pytest.mark.parametrize(
    "module",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "..;",
        "%2Fetc",
        ".git",
        "a%0ab",
        "a%00",
        "%ff",
        "x" * 256,
    ],
)
def test_what_can_be_no_module_has_no_form_of_its_own(me, module):
    """C20"""
    assert me.get(f"/v1/info/conf/{module}").status_code == 404


LOG_BREAKERS = 'a\r\n{"level": "info"}\x1b[31m%s %(name)s\u2028'


@pytest.mark.parametrize("form", [JsonLines(), ShortLines()])
def test_a_field_of_a_log_line_stays_in_its_line(form):
    """C21: also an id that came from Nomad."""
    record = logging.makeLogRecord({"msg": "orphan", "levelno": 20, "job_id": LOG_BREAKERS})
    line = form.format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_no_text_of_a_user_is_logged_while_a_deployment_comes_and_goes(me, manifest, whole, caplog):
    """C21, C23"""
    caplog.set_level(logging.DEBUG)
    mark = "mark-5b1c"
    spec = manifest(
        general={"title": mark, "desc": f"{mark}\n{mark}"}, storage={"rclone_user": mark}
    )
    assert me.post("/v1/specs", json=spec).status_code == 201
    me.post("/v1/specs", json=manifest(general={"title": f"{mark}${{x}}", mark: 1}))
    me.delete("/v1/specs/train-a")
    whole.put(spec=a_spec(title=mark, desc=f"{mark}\n{mark}", rclone_user=mark))
    whole.settle()
    whole.pass_time(20)
    ours = [r for r in caplog.records if r.name.startswith(("api", "reconciler", "specs"))]
    assert ours, "nothing was logged at all"
    assert not [r for r in ours if mark in JsonLines().format(r)]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize(
    "number",
    [
        "-1",
        "true",
        "false",
        '"5"',
        "1.0",
        "1.5",
        "1e2",
        "1e308",
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "2147483647",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        pytest.param("9" * 5000, id="5000-digits"),
        "null",
        "[]",
        "{}",
    ],
)
def test_what_is_no_number_in_range_is_refused_at_its_field(me, key, number):
    """C24"""
    spec = f'{{"hardware": {{"{key}": {number}}}}}'
    body = f'{{"metadata": {{"name": "a"}}, "spec": {spec}}}'
    assert list(refused(me, body)) == [f"/spec/hardware/{key}"]
    assert list(refused(me, spec, route="/v1/deployments")) == [f"/hardware/{key}"]


@pytest.mark.parametrize("key", ["cpu_num", "ram", "disk"])
def test_none_of_what_a_task_needs_is_refused(me, manifest, key):
    """C24: 0"""
    assert refused(me, manifest(hardware={key: 0})) == {f"/spec/hardware/{key}": "OutOfRange"}


@pytest.mark.parametrize("number", ["-1", "true", '"5"', "1.0", "1e308", "NaN", "1000001", "null"])
def test_what_is_no_counter_is_refused(me, number):
    """C24"""
    body = f'{{"metadata": {{"name": "a"}}, "spec": {{"restart": {number}}}}}'
    assert list(refused(me, body)) == ["/spec/restart"]


@pytest.mark.parametrize("body", ["01", "0x10", "1_0", "+1", ".5", "1.", "--1", "1e", "nan", "'1'"])
def test_what_is_no_json_number_is_no_json(me, body):
    """C24"""
    text = f'{{"metadata": {{"name": "a"}}, "spec": {{"restart": {body}}}}}'
    answer = me.post("/v1/specs", content=text, headers=JSON)
    assert (answer.status_code, answer.json()["reason"]) == (400, "UnreadableBody")


@pytest.mark.parametrize(("key", "longest"), [("title", 45), ("desc", 1000)])
@pytest.mark.parametrize("letter", ["x", "ü", "😀"])
def test_a_text_ends_where_its_range_does(me, manifest, key, longest, letter):
    """C27"""
    at = f"/spec/general/{key}"
    assert refused(me, manifest(general={key: letter * (longest + 1)})) == {at: "WrongLength"}
    answer = me.post("/v1/specs", json=manifest(general={key: letter * longest}))
    assert answer.status_code == 201


@pytest.mark.parametrize(("group", "key"), [*TEXTS, *SECRETS])
def test_no_field_takes_a_text_without_end(me, manifest, group, key):
    """C11, C27: just below the limit of a body, and beyond it."""
    assert f"/spec/{group}/{key}" in refused(me, manifest(**{group: {key: "x" * 90_000}}))
    answer = me.post("/v1/specs", json=manifest(**{group: {key: "x" * 1_000_000}}))
    assert answer.status_code == 413
