import shutil
from pathlib import Path

import pytest

from reconciler.settings import SettingsFault, load_settings, packaged_etc

SHIPPED = Path(__file__).parents[2] / "etc"
LEAST = "auth: {VO: [vo.a]}\nnomad: {namespaces: {vo.a: a}}\n"


@pytest.fixture
def etc(tmp_path):
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    return tmp_path


def refusal(environ, etc):
    with pytest.raises(SettingsFault) as caught:
        load_settings(environ, etc)
    return str(caught.value).replace(f"{etc}/", "")


def test_without_environment_the_shipped_folder_and_the_defaults_stand():
    settings = load_settings({})
    assert settings.etc == packaged_etc() == SHIPPED
    assert settings.store_url == "sqlite:///var/ai4papi.db"
    assert (settings.auth_mode, settings.cluster) == ("oidc", "simulated")
    assert (settings.resync_s, settings.audit_s, settings.workers) == (300, 3600, 16)
    assert (settings.host, settings.port, settings.reconcile) == ("127.0.0.1", 8080, True)
    assert settings.targets[0].namespaces["vo.ai4eosc.eu"] == "ai4eosc"
    assert settings.userconf["hardware"]["ram"]["value"] == 8000
    assert 'job "userjob"' in settings.job_template


def test_the_shipped_file_shows_the_defaults(etc):
    shipped = load_settings({}, etc)
    (etc / "main_conf.yaml").write_text(LEAST)
    least = load_settings({}, etc)
    for section in ("gpu", "cpu", "endpoints", "limits", "cors"):
        assert getattr(shipped, section) == getattr(least, section)


TWO = """
auth: {VO: [vo.a, vo.b, vo.c]}
nomad:
  namespaces: {vo.a: a}
  timeout_s: 4
  clusters:
    far: {address: "https://far:4646", namespaces: {vo.b: a}}
    south: {region: south, namespaces: {vo.c: c}}
"""


def test_a_further_cluster_gets_nothing_of_the_environment_and_a_region_all_of_it(etc):
    (etc / "main_conf.yaml").write_text(TWO)
    settings = load_settings({"NOMAD_ADDR": "https://n:4646", "NOMAD_TOKEN": "t"}, etc)
    first, far, south = settings.targets
    assert [one.name for one in settings.targets] == ["default", "far", "south"]
    assert far.namespaces == {"vo.b": "a"}
    assert (first.nomad.address, first.nomad.token, first.nomad.region) == (
        "https://n:4646",
        "t",
        None,
    )
    assert (far.nomad.address, far.nomad.token) == ("https://far:4646", None)
    assert far.nomad.timeout_s == 4
    assert south.nomad == first.nomad.model_copy(update={"region": "south"})


def test_a_further_clusters_token_is_read_from_its_file_and_shown_nowhere(etc):
    (etc / "token").write_text("s3cret\n")
    own = f'address: "https://far:4646", token_file: {etc / "token"}, '
    (etc / "main_conf.yaml").write_text(TWO.replace('address: "https://far:4646", ', own))
    far = load_settings({}, etc).targets[1]
    assert far.nomad.token == "s3cret"
    assert "s3cret" not in repr(far)
    (etc / "token").write_bytes("s3cr\xe9t".encode("latin-1"))
    said = refusal({}, etc)
    assert said == "main_conf.yaml: nomad.clusters: a token is one line of ASCII"


def test_a_site_without_a_first_cluster_has_the_others_only(etc):
    text = "auth: {VO: [vo.b]}\nnomad: {clusters: {far: {region: far, namespaces: {vo.b: b}}}}\n"
    (etc / "main_conf.yaml").write_text(text)
    (far,) = load_settings({}, etc).targets
    assert far.name == "far"


def test_c42_exact_origins_are_taken(etc):
    origins = ("https://a.eu", "https://a.eu:8443", "http://localhost:3000", "http://[::1]:80")
    (etc / "main_conf.yaml").write_text(LEAST + f"cors: {list(origins)}\n")
    assert load_settings({}, etc).cors == origins


def test_null_takes_a_limit_away(etc):
    (etc / "main_conf.yaml").write_text(LEAST + "limits: {writes_per_minute: null}\n")
    assert load_settings({}, etc).limits.writes_per_minute is None


def test_a_section_with_every_key_commented_out_is_its_defaults(etc):
    (etc / "main_conf.yaml").write_text(LEAST + "cpu:\n  # unit: cores\n")
    assert load_settings({}, etc).cpu.unit == "mhz"


def test_the_environment_overrides(etc):
    settings = load_settings(
        {
            "AI4PAPI_ETC": str(etc),
            "AI4PAPI_STORE_URL": "postgresql://u:secret@db/x",
            "AI4PAPI_AUTH": "local",
            "AI4PAPI_LOCAL_TOKEN": "t0ken",
            "AI4PAPI_RECONCILE": "off",
            "AI4PAPI_RESYNC_S": "0.5",
            "AI4PAPI_WORKERS": "4",
            "PORT": "0",
            "UNRELATED": "x",
        }
    )
    assert settings.etc == etc
    assert (settings.auth_mode, settings.local_token) == ("local", "t0ken")
    assert (settings.reconcile, settings.resync_s, settings.workers) == (False, 0.5, 4)
    assert settings.port == 0


@pytest.mark.parametrize(
    ("environ", "cluster", "address"),
    [
        ({}, "simulated", "http://127.0.0.1:4646"),
        ({"NOMAD_ADDR": ""}, "simulated", "http://127.0.0.1:4646"),
        ({"NOMAD_ADDR": "https://n:4646"}, "nomad", "https://n:4646"),
        ({"NOMAD_ADDR": "https://n:1", "AI4PAPI_CLUSTER": "simulated"}, "simulated", "https://n:1"),
        ({"AI4PAPI_CLUSTER": "nomad"}, "nomad", "http://127.0.0.1:4646"),
    ],
)
def test_the_cluster_is_nomad_where_its_address_is_set(environ, cluster, address):
    settings = load_settings(environ, SHIPPED)
    assert (settings.cluster, settings.targets[0].nomad.address) == (cluster, address)


def test_nomads_own_variables_are_read(tmp_path):
    pem = tmp_path / "x.pem"
    pem.write_text("")
    nomad = (
        load_settings(
            {
                "NOMAD_ADDR": "https://n:4646",
                "NOMAD_TOKEN": "t",
                "NOMAD_REGION": "eu",
                "NOMAD_CACERT": str(pem),
                "NOMAD_CLIENT_CERT": str(pem),
                "NOMAD_CLIENT_KEY": str(pem),
                "NOMAD_TLS_SERVER_NAME": "server.eu.nomad",
                "NOMAD_HTTP_AUTH": "user:pass",
                "NOMAD_NAMESPACE": "ignored",
            },
            SHIPPED,
        )
        .targets[0]
        .nomad
    )
    assert (nomad.token, nomad.region, nomad.http_auth) == ("t", "eu", "user:pass")
    assert nomad.cacert == nomad.client_cert == nomad.client_key == pem
    assert nomad.tls_server_name == "server.eu.nomad"


@pytest.mark.parametrize(
    ("word", "skip"), [("", False), ("0", False), ("false", False), ("1", True), ("true", True)]
)
def test_certificates_are_checked_unless_switched_off_aloud(word, skip):
    assert load_settings({"NOMAD_SKIP_VERIFY": word}, SHIPPED).targets[0].nomad.skip_verify is skip


def test_no_secret_shows_in_what_is_printed():
    environ = {
        "AI4PAPI_STORE_URL": "postgresql://u:s3cret@db/x",
        "AI4PAPI_LOCAL_TOKEN": "s3cret",
        "NOMAD_TOKEN": "s3cret",
        "NOMAD_HTTP_AUTH": "u:s3cret",
    }
    settings = load_settings(environ, SHIPPED)
    assert settings.local_token == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"AI4PAPI_AUTH": "lcoal"}, "AI4PAPI_AUTH: Input should be 'oidc' or 'local', not 'lcoal'"),
        ({"AI4PAPI_CLUSTER": "k8s"}, "AI4PAPI_CLUSTER: Input should be 'nomad' or 'simulated'"),
        ({"AI4PAPI_WORKERS": "0"}, "AI4PAPI_WORKERS: Input should be greater than or equal to 1"),
        ({"AI4PAPI_WORKERS": "4.5"}, "AI4PAPI_WORKERS: Input should be a valid integer"),
        ({"AI4PAPI_RESYNC_S": "nan"}, "AI4PAPI_RESYNC_S: Input should be"),
        ({"AI4PAPI_RESYNC_S": "-1"}, "AI4PAPI_RESYNC_S: Input should be greater than 0"),
        ({"AI4PAPI_RECONCILE": "no"}, "AI4PAPI_RECONCILE: Input should be 'on' or 'off'"),
        ({"PORT": "65536"}, "PORT: Input should be less than or equal to 65535"),
        ({"NOMAD_ADDR": "n:4646"}, "NOMAD_ADDR: must be an address that begins with https://"),
        ({"NOMAD_SKIP_VERIFY": "perhaps"}, "NOMAD_SKIP_VERIFY: Input should be a valid boolean"),
        ({"NOMAD_CACERT": "/nowhere.pem"}, "NOMAD_CACERT names /nowhere.pem, and there is no such"),
        ({"NOMAD_CLIENT_CERT": __file__}, "NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY go together"),
        ({"AI4PAPI_STORE_URL": "mysql://x"}, "AI4PAPI_STORE_URL: String should match pattern"),
        ({"AI4PAPI_LOCAL_TOKEN": "a b"}, "AI4PAPI_LOCAL_TOKEN: String should match pattern"),
    ],
)
def test_a_bad_variable_is_refused_by_name(environ, said):
    assert refusal(environ, SHIPPED).startswith(said)


def test_a_refused_secret_variable_is_not_repeated():
    environ = {"AI4PAPI_LOCAL_TOKEN": "s3cret x", "AI4PAPI_STORE_URL": "s3cret://"}
    assert "s3cret" not in refusal(environ, SHIPPED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LEAST + "nomd: 1\n", "main_conf.yaml:3: nomd: unknown key; allowed: auth, nomad, gpu"),
        (LEAST + "nomd: 1\n", "did you mean 'nomad'?"),
        ("auth:\n  OPP: []\n", "main_conf.yaml:2: auth.OPP: unknown key; allowed: OP, VO, aud"),
        ("auth:\n  OPP: []\n", "main_conf.yaml:2: auth.OPP: unknown key; allowed: OP, VO"),
        ("auth: {}\n", "main_conf.yaml:1: auth.VO: Field required"),
        ("auth: {VO: []}\n", "main_conf.yaml:1: auth.VO: "),
        (
            "auth: {VO: [vo.a], OP:\n [ftp://x]}\n",
            "main_conf.yaml:2: auth.OP.0: must be an address",
        ),
        (
            "auth: {VO: [vo.b]}\nnomad:\n  namespaces: {}\n",
            "main_conf.yaml:3: nomad.namespaces: no",
        ),
        (
            TWO.replace("{vo.b: a}", "{vo.a: x}"),
            "main_conf.yaml:3: nomad: vo.a has a namespace in two clusters, default and far",
        ),
        (TWO.replace("far:", "default:"), "main_conf.yaml:3: nomad: clusters: default is the"),
        (TWO.replace("region: south, ", ""), "nomad.clusters.south: give an address, or the reg"),
        (TWO.replace("south,", "s, cacert: /x,"), "nomad.clusters.south: cacert goes with an add"),
        (TWO.replace("far:4646", 'far", token_file: /none, x: "'), "nomad.clusters.far"),
        (TWO.replace("{vo.c: c}", "{}"), "nomad.clusters.south.namespaces: "),
        (LEAST + "cpu: {unit: ghz}\n", "main_conf.yaml:3: cpu.unit: Input should be 'mhz' or"),
        (LEAST + "cpu: {mhz_per_cpu: true}\n", "main_conf.yaml:3: cpu.mhz_per_cpu: Input should"),
        (LEAST + "cpu: {mhz_per_cpu: 0}\n", "main_conf.yaml:3: cpu.mhz_per_cpu: Input should"),
        (LEAST + "gpu: {device: a/b/c/d}\n", "main_conf.yaml:3: gpu.device: "),
        (LEAST + "endpoints: {domain: 'a b'}\n", "main_conf.yaml:3: endpoints.domain: "),
        (LEAST + "limits: {body_bytes: 1}\n", "main_conf.yaml:3: limits.body_bytes: "),
        (LEAST + "limits:\n  long_polls: 0\n", "main_conf.yaml:4: limits.long_polls: "),
        (LEAST + "limits: {body_s: 0}\n", "main_conf.yaml:3: limits.body_s: "),
        (LEAST + "cors: ['*']\n", "main_conf.yaml:3: cors.0: must be one origin"),
        (LEAST + "cors:\n  - https://a.eu\n  - 'null'\n", "main_conf.yaml:5: cors.1: must be one"),
        (LEAST + "cors: [https://a.eu/]\n", "main_conf.yaml:3: cors.0: must be one origin"),
        (LEAST + "cors: ['https://*.a.eu']\n", "main_conf.yaml:3: cors.0: must be one origin"),
        (LEAST + "cors: [https://A.eu]\n", "main_conf.yaml:3: cors.0: must be one origin"),
        (LEAST + "cors: [https://u@a.eu]\n", "main_conf.yaml:3: cors.0: must be one origin"),
        (LEAST + "cors: [http://a.eu]\n", "main_conf.yaml:3: cors.0: must begin with https://"),
        (LEAST + "cors: [http://127.0.0.1.a.eu]\n", "main_conf.yaml:3: cors.0: must begin with"),
        (LEAST + "cors: https://a.eu\n", "main_conf.yaml:3: cors: Input should be"),
        ("auth: {VO: [vo.a]}\nnomad: {namespaces: {vo.a: '*'}}\n", "main_conf.yaml:2: nomad.name"),
        (LEAST + "auth: {}\n", "main_conf.yaml:3: the key 'auth' stands in line 1 already"),
        (LEAST + "gpu: *x\n", "main_conf.yaml:3: aliases"),
        ("[]", "main_conf.yaml:1: "),
        ("", "main_conf.yaml:1: auth: Field required"),
    ],
)
def test_a_bad_main_conf_is_refused_with_file_and_line(etc, text, said):
    (etc / "main_conf.yaml").write_text(text)
    assert said in refusal({}, etc)


def test_all_faults_of_a_file_are_told_at_once(etc):
    (etc / "main_conf.yaml").write_text(LEAST + "cpu: {unit: x}\ngpu: {model: x}\n")
    assert refusal({}, etc).count("main_conf.yaml:") == 2


def test_a_bad_userconf_is_refused_with_file_and_line(etc):
    path = etc / "userconf.yaml"
    path.write_text(path.read_text().replace("range: [1, 64]", "range: [64, 1]"))
    line = path.read_text().splitlines().index("    range: [64, 1]") + 1
    assert refusal({}, etc).startswith(f"userconf.yaml:{line}: hardware.cpu_num.range: must be")


def with_gpus_by_vo(etc, vos):
    path = etc / "userconf.yaml"
    gpus = "\n    range: [0, 8]"
    path.write_text(path.read_text().replace(gpus, f"{gpus}\n    vo: {vos}"))
    return path.read_text().splitlines().index(f"    vo: {vos}") + 1


def test_a_default_outside_a_vos_range_is_refused_with_file_and_line(etc):
    line = with_gpus_by_vo(etc, "{vo.imagine-ai.eu: {range: [1, 2]}}")
    said = f"userconf.yaml:{line}: hardware.gpu_num.vo.vo.imagine-ai.eu.value: 0 is not a whole"
    assert refusal({}, etc).startswith(said)


def test_a_vo_that_main_conf_does_not_know_is_refused_with_the_near_one(etc):
    line = with_gpus_by_vo(etc, "{vo.imagine-ai.ue: {range: [0, 2]}}")
    said = refusal({}, etc)
    assert said.startswith(f"userconf.yaml:{line}: hardware.gpu_num.vo.vo.imagine-ai.ue: unknown")
    assert "did you mean 'vo.imagine-ai.eu'?" in said


def test_a_vo_that_is_no_longer_served_may_keep_its_rules(etc):
    (etc / "main_conf.yaml").write_text(
        "auth: {VO: [vo.a]}\nnomad: {namespaces: {vo.a: a, vo.b: b}}"
    )
    with_gpus_by_vo(etc, "{vo.a: {range: [0, 2]}, vo.b: {range: [0, 1]}}")
    assert load_settings({}, etc).userconf["hardware"]["gpu_num"]["vo"]["vo.b"]["range"] == [0, 1]


def test_priority_classes_are_read_and_there_are_none_by_default(etc):
    shipped = load_settings({}, etc).priorities
    assert {name: known.priority for name, known in shipped.items()} == {"low": 30, "high": 70}
    assert shipped["low"].roles == ("user", "editor", "operator")
    assert shipped["high"].roles == ("operator",)
    (etc / "main_conf.yaml").write_text(LEAST)
    assert load_settings({}, etc).priorities == {}


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ("{a: {priority: 0}}", "a.priority: Input should be greater than or equal to 1, not 0"),
        ("{a: {priority: 101}}", "a.priority: Input should be less than or equal to 100, not 101"),
        ("{a: {priority: true}}", "a.priority: Input should be a valid integer, not true"),
        ("{a: {priority: 1.0}}", "a.priority: Input should be a valid integer, not 1.0"),
        ("{a: {}}", "a.priority: Field required"),
        ("{a: 30}", "a: Input should be a valid dictionary"),
        ("{a: {priority: 1, roles: [root]}}", "a.roles.0: Input should be 'user', 'editor' or"),
        ("{a: {priority: 1, roles: [auditor]}}", "a.roles.0: Input should be 'user', 'editor' or"),
        ("{a: {priority: 1, roles: []}}", "a.roles: "),
        ("{a: {priority: 1, rolls: []}}", "a.rolls: unknown key; allowed: priority, roles; did"),
        ("{A b: {priority: 1}}", "String should match pattern"),
        ("[30]", "priorities: Input should be a valid dictionary"),
    ],
)
def test_a_bad_priority_class_is_refused_with_file_and_line(etc, classes, said):
    (etc / "main_conf.yaml").write_text(f"{LEAST}priorities: {classes}\n")
    refused = refusal({}, etc)
    assert refused.startswith("main_conf.yaml:3: priorities")
    assert said in refused


@pytest.mark.parametrize("name", ["main_conf.yaml", "userconf.yaml", "job.nomad"])
def test_a_missing_file_is_named(etc, name):
    (etc / name).unlink()
    assert refusal({}, etc).startswith(f"{name}: can't be read")


def test_the_shipped_rules_of_who_is_who_are_the_defaults(etc):
    auth = load_settings({}, etc).auth
    assert (auth.audience, auth.realm_roles.claim) == (None, None)
    (etc / "main_conf.yaml").write_text(LEAST)
    least = load_settings({}, etc).auth
    for section in ("audience", "entitlements", "realm_roles", "roles"):
        assert getattr(auth, section) == getattr(least, section)


AUTH = "nomad: {namespaces: {vo.a: a}}\nauth:\n  VO: [vo.a]\n  OP: [https://op]\n"


def test_who_is_more_than_a_user_is_a_word_or_a_person(etc):
    (etc / "main_conf.yaml").write_text(
        AUTH
        + "  audience: papi\n  roles:\n    operator: [manager, {iss: https://op, sub: 'a b'}]\n"
    )
    auth = load_settings({}, etc).auth
    assert auth.audience == ("papi",)
    word, person = auth.roles.operator
    assert word == "manager"
    assert (person.iss, person.sub, person.vo) == ("https://op", "a b", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  OPS: 1\n", "main_conf.yaml:5: auth.OPS: unknown key"),
        ("  audience: []\n", "main_conf.yaml:5: auth.audience: "),
        (
            "  entitlements: {namespace: egi.eu}\n",
            "main_conf.yaml:5: auth.entitlements.namespace: ",
        ),
        (
            "  entitlements: {namespace: 'urn:x:group:y'}\n",
            "main_conf.yaml:5: auth.entitlements.namespace: must end before `:group:`",
        ),
        (
            "  entitlements: {authorities: []}\n",
            "main_conf.yaml:5: auth.entitlements.authorities: ",
        ),
        ("  entitlements:\n    roles: [a b]\n", "main_conf.yaml:6: auth.entitlements.roles.0: "),
        ("  entitlements: {from_token: 'yes'}\n", "main_conf.yaml:5: auth.entitlements.from_token"),
        ("  realm_roles: {level: []}\n", "main_conf.yaml:5: auth.realm_roles.level: unknown key"),
        (
            "  roles:\n    operater: []\n",
            "main_conf.yaml:6: auth.roles.operater: unknown key; allowed: operator, editor, aud",
        ),
        (
            "  roles:\n    operator:\n      - {iss: https://op, subb: x}\n",
            "or a person {iss, sub, vo}; look at sub, subb",
        ),
        ("  roles: {editor: [5]}\n", "main_conf.yaml:5: auth.roles.editor.0: must be a role"),
        (
            "  roles: {editor: [{iss: https://x, sub: a}]}\n",
            "main_conf.yaml:5: auth.roles: names the issuer 'https://x', which OP does not",
        ),
        (
            "  roles: {editor: [{iss: https://op, sub: a, vo: vo.b}]}\n",
            "main_conf.yaml:5: auth.roles: names the VO 'vo.b', which VO does not",
        ),
    ],
)
def test_a_bad_rule_of_who_is_who_is_refused_with_file_and_line(etc, text, said):
    (etc / "main_conf.yaml").write_text(AUTH + text)
    assert said in refusal({}, etc)


@pytest.mark.parametrize(
    "issuer",
    [
        *("http://op", "http://127.0.0.1:8080/x", "https://", "https://u@op", "https://op?x"),
        *("op", "https://op#", "https://op:99999", "https://op:x", "HTTPS://op", "'https://op '"),
    ],
)
def test_an_issuer_is_a_plain_https_address(etc, issuer):
    (etc / "main_conf.yaml").write_text(AUTH.replace("https://op", issuer))
    assert "main_conf.yaml:4: auth.OP.0: must be an address" in refusal({}, etc)


@pytest.mark.parametrize(
    ("named", "source"),
    [
        ("/srv/specs", ("/srv/specs", False, "main")),
        ("https://git.example.org/a/b.git", ("https://git.example.org/a/b.git", True, "main")),
        ("https://git.example.org/a/b.git@v1.2", ("https://git.example.org/a/b.git", True, "v1.2")),
        ("git@host:a/b.git", ("git@host:a/b.git", True, "main")),
        ("git@host:a/b.git@team/x", ("git@host:a/b.git", True, "team/x")),
        ("ssh://git@host/a.git", ("ssh://git@host/a.git", True, "main")),
        ("ssh://git@host:22/a.git@dev", ("ssh://git@host:22/a.git", True, "dev")),
        ("file:///srv/a.git@main", ("file:///srv/a.git", True, "main")),
    ],
)
def test_the_environment_names_one_more_source_of_spec_files(etc, named, source):
    found = load_settings({"AI4PAPI_SPECS": named}, etc).specs.sources[-1]
    assert (found.url, found.is_git, found.ref) == source


@pytest.mark.parametrize(
    "named", ["https://user:secret-token@git.example.org/a.git", "ext::ssh://a", "https://"]
)
def test_a_source_that_can_not_be_one_is_refused_and_not_repeated(etc, named):
    said = refusal({"AI4PAPI_SPECS": named}, etc)
    assert said.startswith("AI4PAPI_SPECS: ")
    assert "secret-token" not in said


SOURCES = "specs:\n  sources:\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{url: 'https://u:p@h/a.git'}", "main_conf.yaml:5: specs.sources.0: "),
        ("{url: 'https://h/a.git', poll_s: 1}", "main_conf.yaml:5: specs.sources.0.poll_s: "),
        ("{url: /srv/specs, ref: dev}", "are for git repositories"),
        ("{url: 'https://h/a.git', branch: dev}", "unknown key; allowed: name, url, ref"),
        ("{url: 'https://h/a.git', ref: '--upload-pack=x'}", "is no name of a branch"),
        ("{url: 'https://h/a.git', folder: ../x}", "is no folder of a repository"),
        ("{url: 'https://h/a.git', vos: [vo.b]}", "names the VO 'vo.b', which auth.VO does not"),
    ],
)
def test_a_source_that_is_wrong_is_refused_with_its_line(etc, source, said):
    (etc / "main_conf.yaml").write_text(LEAST + SOURCES + f"    - {source}\n")
    assert said in refusal({}, etc)


def test_sources_are_told_apart_by_name(etc):
    twice = "    - {url: /srv/a}\n    - {url: /srv/a}\n"
    (etc / "main_conf.yaml").write_text(LEAST + SOURCES + twice)
    assert "two sources are called '/srv/a'" in refusal({}, etc)
    named = "    - {url: /srv/a, name: one}\n    - {url: /srv/a, name: two}\n"
    (etc / "main_conf.yaml").write_text(LEAST + SOURCES + named)
    assert [source.id for source in load_settings({}, etc).specs.sources] == ["one", "two"]


def test_a_hook_secret_must_be_long_and_is_never_repeated(etc):
    said = refusal({"AI4PAPI_HOOK_SECRET": "guessable"}, etc)
    assert "AI4PAPI_HOOK_SECRET" in said
    assert "guessable" not in said


def test_secrets_may_come_from_files(tmp_path):
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    settings = load_settings({"NOMAD_ADDR": "http://n:4646", "NOMAD_TOKEN_FILE": str(file)})
    assert settings.targets[0].nomad.token == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "more", "told"),
    [
        (None, {}, "NOMAD_TOKEN_FILE: {file} can't be read"),
        ("", {}, "NOMAD_TOKEN_FILE: {file} is empty"),
        ("s3cret", {"NOMAD_TOKEN": "other"}, "NOMAD_TOKEN and NOMAD_TOKEN_FILE are both set"),
    ],
)
def test_a_secret_file_that_is_no_use_is_refused(tmp_path, etc, content, more, told):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsFault) as caught:
        load_settings({"NOMAD_TOKEN_FILE": str(file), **more}, etc)
    assert told.format(file=file) in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_whom_nomad_started_knows_its_own_job():
    task = {"NOMAD_ALLOC_ID": "a", "NOMAD_JOB_ID": "ai4papi", "NOMAD_NAMESPACE": "platform"}
    assert load_settings(task).targets[0].nomad.own_job == ("platform", "ai4papi")
    assert load_settings({"NOMAD_NAMESPACE": "platform"}).targets[0].nomad.own_job is None
