"""What one spec file declares, and what is said of one that is wrong (rows C31 to C39)."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.faults import Fault, InvalidSpec
from specs.files import FileFault, Rules, fault_of, read_file, unread
from specs.model import Owner
from specs.pruning import Place
from specs.shapes import MAX_FAULTS
from specs.trees import MAX_PATH
from specs.userconf import read_userconf
from specs.wish import wish_of_manifest
from specs.yaml_text import MAX_BYTES, MAX_DEPTH, read_yaml

CONF = read_userconf(
    read_yaml((Path(__file__).parents[2] / "etc" / "userconf.yaml").read_text()).tree
)
EGI, OTHER = "https://aai.egi.eu/auth/realms/egi", "https://login.example.org"
VOS = ("vo.ai4eosc.eu", "vo.imagine-ai.eu")
RULES = Rules(vos=VOS, issuer=EGI, issuers=[EGI, OTHER])
BY_PATH = Rules(layout="path", vos=VOS, issuer=EGI, issuers=[EGI, OTHER])
LOCAL = Rules(vos=VOS[:1], issuer="local", default_owner=Owner("local", "local"))
ALICE = Owner(EGI, "alice@egi.eu")
AT_PATH = "vo.ai4eosc.eu/alice@egi.eu/train-a.yaml"

MANIFEST = """\
apiVersion: ai4papi/v1
kind: Deployment
metadata:
  name: train-a
  vo: vo.ai4eosc.eu
  owner: alice@egi.eu
spec:
  hardware: {ram: 8000}
"""


def read(text, rules=RULES, path="deploy/a.yaml"):
    return read_file(path, text if isinstance(text, bytes) else text.encode(), rules)


def declared(text, rules=RULES, path="deploy/a.yaml"):
    """Return the one document of a file without faults."""
    found = read(text, rules, path)
    assert (found.faults, found.readable) == ([], True)
    (one,) = found.declared
    return one


def refused(text, rules=RULES, path="deploy/a.yaml"):
    """Return [(line, column, pointer, code)] of a file that declares nothing."""
    found = read(text, rules, path)
    assert (found.declared, found.readable) == ([], False)
    return [(f.line, f.column, f.pointer, f.code) for f in found.faults]


def with_metadata(metadata, **spec):
    return json.dumps({"metadata": {"name": "train-a", **metadata}, "spec": spec})


def test_a_file_declares_a_deployment():
    one = declared(MANIFEST)
    assert one.place == Place(ALICE, "vo.ai4eosc.eu", "train-a")
    assert (one.path, one.line) == ("deploy/a.yaml", 1)
    assert one.manifest["metadata"] == {"name": "train-a", "vo": "vo.ai4eosc.eu"}
    wish = wish_of_manifest(one.manifest, CONF, vos=(one.place.vo,))
    assert (wish.vo, wish.name, wish.spec.hardware.ram) == ("vo.ai4eosc.eu", "train-a", 8000)


def test_several_documents_are_read_in_order_and_empty_ones_passed_over():
    second = MANIFEST.replace("train-a", "train-b")
    found = read(f"# ours\n---\n---\n{MANIFEST}---\n# none\n---\n{second}---\n")
    assert [(one.place.name, one.line) for one in found.declared] == [
        ("train-a", 4),
        ("train-b", 15),
    ]
    assert (found.faults, found.readable) == ([], True)


@pytest.mark.parametrize("rules", [RULES, BY_PATH])
@pytest.mark.parametrize(
    "text", ["# all of it is commented out\n", "---\n", "---\n# a\n---\n", "~"]
)
def test_a_file_of_comments_declares_nothing(text, rules):
    found = read(text, rules, AT_PATH)
    assert (found.declared, found.faults, found.readable) == ([], [], True)


@pytest.mark.parametrize("text", [b"", b"\n \n", b"\xef\xbb\xbf", b"\r\n"])
def test_a_file_without_a_character_may_be_half_written(text):
    """C37."""
    assert refused(text) == [(1, 1, "", "Unreadable")]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + MANIFEST.encode(),
        MANIFEST.replace("\n", "\r\n").encode(),
        json.dumps(read_yaml(MANIFEST).tree).encode(),
        json.dumps(read_yaml(MANIFEST).tree, indent="\t").encode(),
    ],
)
def test_byte_order_mark_crlf_and_json_are_fine(content):
    assert declared(content).place.name == "train-a"


def test_json_may_write_characters_in_two_halves():
    text = with_metadata({"owner": "a", "vo": VOS[0]}, general={"title": r"🚀 \ud83d\\ 🚀"})
    assert r"\ud83d\ude80" in text
    one = declared(text, path="a.JSON")
    assert one.manifest["spec"]["general"]["title"] == r"🚀 \ud83d\\ 🚀"


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        (MANIFEST.encode("utf-16"), (1, 1), "UTF-16"),
        (MANIFEST.encode("utf-16-le"), (1, 1), "UTF-16"),
        (MANIFEST.encode("utf-16-be"), (1, 1), "UTF-16"),
        (MANIFEST.encode("utf-32"), (1, 1), "UTF-32"),
        ("a: 1\nb: für".encode("latin-1"), (2, 5), "0xfc is no UTF-8"),
        (b"\xef\xbb\xbfa: 1\nb: \xc3", (2, 4), "0xc3 is no UTF-8"),
        (b"a: 1\nb: \xed\xa0\x80", (2, 4), "no UTF-8"),
        (b"a: 1\nb:" + bytes(4096), (2, 3), "NUL character"),
        (bytes(4096), (1, 1), "NUL character"),
        (b"a: 1\nb: \x1b[31m", (2, 4), r"'\x1b' is not allowed"),
        (b"a" * (MAX_BYTES + 1), (1, 1), "more than 65536"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", (1, 1), "LFS"),
        (b"metadata: {name: a\nspec: {}", (2, 5), ""),
        (b"a: 1\n\tb: 2", (2, 1), ""),
        (b"spec: {}\nspec: {}", (2, 1), "'spec' stands in line 1 already"),
        (b"a: &a [1]\nb: [*a, *a]", (1, 4), "anchors"),
        (b"a: 1\nb: *a", (2, 4), "aliases"),
        (b"a:\n  <<: {b: 1}", (2, 3), "merge keys"),
        (b"a: !!python/object/apply:os.system [id]", (1, 4), "tags"),
        (b"a: !include /etc/passwd", (1, 4), "tags"),
        (b"[" * (MAX_DEPTH + 1), (1, MAX_DEPTH + 1), "nested deeper"),
        (b"- " * 900, (1, 2 * MAX_DEPTH + 1), "nested deeper"),
        (b"a: " + b"9" * 5000, (1, 4), "digits"),
    ],
)
def test_what_is_no_plain_yaml_spoils_the_file_and_is_said_with_its_place(content, place, words):
    """C32 to C36."""
    found = read(content)
    (fault,) = found.faults
    assert (found.declared, found.readable) == ([], False)
    assert (fault.line, fault.column) == place
    assert words in fault.message


@pytest.mark.parametrize("broken", ["a: [", "a: &a 1", "a: \0", "a: \x07", "a: 1\na: 2"])
def test_one_broken_document_spoils_the_whole_file(broken):
    """C36, C37."""
    assert refused(f"{MANIFEST}---\n{broken}")[0][2:] == ("", "Unreadable")


def test_plain_words_of_yaml_1_1_are_texts():
    """C35."""
    text = "metadata: {name: no, owner: 1:30, vo: vo.ai4eosc.eu, labels: {a: 2024-01-01}}\nspec: {}"
    one = declared(text)
    assert one.place == Place(Owner(EGI, "1:30"), "vo.ai4eosc.eu", "no")
    assert one.manifest["metadata"]["labels"] == {"a": "2024-01-01"}


def test_a_sound_neighbour_of_a_document_without_a_place_is_declared():
    found = read(MANIFEST + "---\nmetadata: {name: b}\nspec: {}\n---\n" + MANIFEST)
    assert [one.line for one in found.declared] == [1, 13]
    assert not found.readable
    assert [(f.line, f.column, f.pointer, f.code) for f in found.faults] == [
        (10, 1, "/metadata/vo", "Required"),
        (10, 1, "/metadata/owner", "Required"),
    ]


@pytest.mark.parametrize("kind", ["Deploymnt", "ConfigMap"])
def test_a_misspelt_kind_keeps_the_place_and_is_a_fault_of_the_wish(kind):
    one = declared(MANIFEST.replace("kind: Deployment", f"kind: {kind}"))
    with pytest.raises(InvalidSpec) as caught:
        wish_of_manifest(one.manifest, CONF, vos=(one.place.vo,))
    (fault,) = caught.value.faults
    assert str(fault_of(one, fault)) == f"deploy/a.yaml:2:1 /kind: '{kind}' is not Deployment"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("just words", [(1, 1, "", "WrongType")]),
        ("- 1", [(1, 1, "", "WrongType")]),
        ("metdata: {}\nspec: {}", [
            (1, 1, "/metdata", "UnknownKey"),
            (1, 1, "/metadata", "Required"),
        ]),
        ("metadata:\nspec: {}", [(1, 1, "/metadata", "WrongType")]),
        ("kind: Pod\nmetadata: {}", [
            (1, 1, "/spec", "Required"),
            (1, 1, "/kind", "NotAnOption"),
            (2, 1, "/metadata/name", "Required"),
            (2, 1, "/metadata/vo", "Required"),
            (2, 1, "/metadata/owner", "Required"),
        ]),
        (MANIFEST.replace("train-a", "Train A"), [(4, 3, "/metadata/name", "BadName")]),
        (MANIFEST.replace("train-a", "[a]"), [(4, 3, "/metadata/name", "BadName")]),
        (MANIFEST.replace("name:", "nam:"), [
            (3, 1, "/metadata/name", "Required"),
            (4, 3, "/metadata/nam", "UnknownKey"),
        ]),
    ],
)  # fmt: skip
def test_a_document_without_a_place_is_told_all_that_is_wrong(text, faults):
    assert sorted(refused(text)) == sorted(faults)


def test_a_misspelt_owner_is_told_the_right_word():
    found = read(MANIFEST.replace("owner:", "onwer:"))
    assert "did you mean 'owner'?" in str(found.faults[0])


@pytest.mark.parametrize(
    ("owner", "rules", "expected"),
    [
        ("alice", RULES, Owner(EGI, "alice")),
        ({"iss": EGI, "sub": "alice"}, RULES, Owner(EGI, "alice")),
        ({"iss": OTHER, "sub": "alice"}, RULES, Owner(OTHER, "alice")),
        ({"iss": OTHER, "sub": "alice"}, Rules(vos=VOS, issuers=[OTHER]), Owner(OTHER, "alice")),
        (None, LOCAL, Owner("local", "local")),
        ("local", LOCAL, Owner("local", "local")),
        ("x" * 255, RULES, Owner(EGI, "x" * 255)),
    ],
)
def test_an_owner_is_a_sub_or_an_issuer_and_a_sub(owner, rules, expected):
    text = with_metadata({"owner": owner, "vo": "vo.ai4eosc.eu"})
    assert declared(text, rules).place.owner == expected


@pytest.mark.parametrize(
    ("owner", "rules", "at", "code", "words"),
    [
        (None, RULES, "", "Required", "the owner's sub, or {iss, sub}"),
        ("alice", Rules(vos=VOS, issuers=[OTHER]), "", "Required", "whose it is: {iss, sub}"),
        ("", RULES, "", "WrongLength", "0 characters"),
        ("x" * 256, RULES, "", "WrongLength", "256 characters"),
        ("a\0b", RULES, "", "ControlCharacter", "NUL"),
        ("a\x1bb", RULES, "", "ControlCharacter", "control"),
        ("a\u202eb", RULES, "", "ControlCharacter", "control"),
        (12345, RULES, "", "WrongType", "put the number in quotes"),
        (True, RULES, "", "WrongType", "not true"),
        (["alice"], RULES, "", "WrongType", "not a list"),
        ({"sub": "alice"}, RULES, "/iss", "Required", "iss is missing"),
        ({"iss": EGI}, RULES, "/sub", "Required", "sub is missing"),
        ({"iss": EGI, "sub": "a", "name": "A"}, RULES, "/name", "UnknownKey", "unknown key"),
        ({"iss": EGI, "sub": 1}, RULES, "/sub", "WrongType", "quotes"),
        ({"iss": EGI + "/", "sub": "a"}, RULES, "/iss", "NotAnOption", "did you mean"),
        ({"iss": ["x"], "sub": "a"}, RULES, "/iss", "NotAnOption", "a list is not one of"),
        ({"iss": "local", "sub": "a"}, RULES, "/iss", "NotAnOption", "trusted here"),
    ],
)
def test_an_owner_that_is_none_is_refused(owner, rules, at, code, words):
    found = read(with_metadata({"owner": owner, "vo": "vo.ai4eosc.eu"}), rules)
    (fault,) = found.faults
    assert (fault.pointer, fault.code) == (f"/metadata/owner{at}", code)
    assert words in fault.message
    assert (found.declared, found.readable) == ([], False)


@pytest.mark.parametrize(
    ("metadata_vo", "general_vo", "vos"),
    [
        (VOS[1], None, VOS),
        (None, VOS[1], VOS),
        (VOS[1], VOS[1], VOS),
        (VOS[1], "", VOS),
        (None, "", VOS[1:]),
        (None, None, VOS[1:]),
    ],
)
def test_the_vo_is_said_in_either_place_or_is_the_only_one(metadata_vo, general_vo, vos):
    general = {} if general_vo is None else {"virtual_organization": general_vo}
    text = with_metadata({"owner": "a", "vo": metadata_vo}, general=general)
    one = declared(text, Rules(vos=vos, issuer=EGI))
    assert one.place.vo == one.manifest["metadata"]["vo"] == VOS[1]
    assert wish_of_manifest(one.manifest, CONF, vos=(one.place.vo,)).vo == VOS[1]


GENERAL_VO = "/spec/general/virtual_organization"


@pytest.mark.parametrize(
    ("metadata_vo", "general_vo", "vos", "at", "words"),
    [
        (VOS[0], VOS[1], VOS, GENERAL_VO, "that /metadata/vo says, 'vo.ai4eosc"),
        ("vo.ai4eosc.e", None, VOS, "/metadata/vo", "did you mean 'vo.ai4eosc.eu'?"),
        (None, "other", VOS, GENERAL_VO, "'other' is not one of the VOs"),
        (None, ["a"], VOS[:1], GENERAL_VO, "a list is not"),
        (7, None, VOS, "/metadata/vo", "7 is not one of the VOs"),
        ("", None, VOS[:1], "/metadata/vo", "'' is not one of the VOs"),
        (None, None, VOS, "/metadata/vo", "vo.ai4eosc.eu, vo.imagine-ai.eu"),
        (None, None, (), "/metadata/vo", "none"),
    ],
)
def test_a_vo_that_the_source_may_not_declare_for_is_refused(
    metadata_vo, general_vo, vos, at, words
):
    general = {} if general_vo is None else {"virtual_organization": general_vo}
    text = with_metadata({"owner": "a", "vo": metadata_vo}, general=general)
    found = read(text, Rules(vos=vos, issuer=EGI))
    (fault,) = found.faults
    assert (fault.pointer, found.declared, found.readable) == (at, [], False)
    assert words in fault.message


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (AT_PATH, Place(ALICE, VOS[0], "train-a")),
        (f"{VOS[1]}/alice%40egi.eu/b.YML", Place(ALICE, VOS[1], "b")),
        (f"{VOS[1]}/a%2fb%25%C3%A9+ c/b.json", Place(Owner(EGI, "a/b%é+ c"), VOS[1], "b")),
        (f"{VOS[1]}/%2E%2e/b.yaml", Place(Owner(EGI, ".."), VOS[1], "b")),
    ],
)
def test_the_path_says_it_all(path, place):
    one = declared("spec: {}", BY_PATH, path)
    assert one.place == place
    assert one.manifest == {"metadata": {"name": place.name, "vo": place.vo}, "spec": {}}


def test_what_the_document_says_as_well_may_agree():
    assert declared(MANIFEST, BY_PATH, AT_PATH).place == Place(ALICE, VOS[0], "train-a")
    full = with_metadata({"owner": {"iss": EGI, "sub": ALICE.sub}})
    assert declared(full, BY_PATH, AT_PATH).place.owner == ALICE


def test_the_document_says_the_issuer_where_a_sub_alone_belongs_to_none():
    rules = Rules(layout="path", vos=VOS, issuers=[EGI, OTHER])
    full = with_metadata({"owner": {"iss": OTHER, "sub": ALICE.sub}})
    assert declared(full, rules, AT_PATH).place.owner == Owner(OTHER, ALICE.sub)
    assert refused("spec: {}", rules, AT_PATH) == [(1, 1, "/metadata/owner", "Required")]


@pytest.mark.parametrize(
    ("old", "new", "pointer", "words"),
    [
        ("name: train-a", "name: b", "/metadata/name", "'b' is not the name that the path says"),
        ("owner: alice", "owner: mallory", "/metadata/owner", "the path says, 'alice@egi.eu'"),
        ("vo: vo.ai4eosc.eu", f"vo: {VOS[1]}", "/metadata/vo", "the VO that the path says, 'vo."),
        ("owner: alice@egi.eu", f"owner: {{iss: '{OTHER}', sub: alice@egi.eu}}", "/metadata/owner",
         f"the issuer that the path says, '{EGI}'"),
    ],
)  # fmt: skip
def test_the_directory_decides_and_both_are_named(old, new, pointer, words):
    """C38."""
    found = read(MANIFEST.replace(old, new), BY_PATH, AT_PATH)
    (fault,) = found.faults
    assert (fault.pointer, fault.code) == (pointer, "Contradiction")
    assert words in fault.message
    assert (found.declared, found.readable) == ([], False)


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("a.yaml", "WrongLayout", "<vo>/<owner>/<name>.yaml"),
        (f"{VOS[0]}/a.yaml", "WrongLayout", "2 parts"),
        (f"{VOS[0]}/alice/old/a.yaml", "WrongLayout", "4 parts"),
        (f"{VOS[0]}/alice/A.yaml", "BadName", "'A' is not a DNS label"),
        (f"{VOS[0]}/alice/a.b.yaml", "BadName", "'a.b'"),
        (f"{VOS[0]}/50%/a.yaml", "BadOwner", "'50%'"),
        (f"{VOS[0]}/%FF/a.yaml", "BadOwner", "%XX"),
        (f"{VOS[0]}/%00/a.yaml", "BadOwner", "'%00'"),
        (f"{VOS[0]}/{'x' * 256}/a.yaml", "BadOwner", "a sub"),
        (f"{VOS[0]}//a.yaml", "BadOwner", "''"),
        ("vo.ai4eosc.e/alice/a.yaml", "NotAnOption", "the path's 'vo.ai4eosc.e' is not one of the"),
    ],
)
def test_a_path_that_says_nothing_is_a_fault(path, code, words):
    found = read("spec: {}", BY_PATH, path)
    (fault,) = found.faults
    assert (fault.line, fault.column, fault.pointer, fault.code) == (1, 1, "", code)
    assert words in fault.message
    assert (found.declared, found.readable) == ([], False)


def test_a_file_at_a_path_holds_one_document():
    assert refused(f"---\n{MANIFEST}---\n{MANIFEST}", BY_PATH, AT_PATH) == [(11, 1, "", "TooMany")]


def test_metadata_that_is_no_mapping_is_not_made_up_for_by_the_path():
    for text in ("metadata: []\nspec: {}", "metadata:\nspec: {}", "[]", "words"):
        assert refused(text, BY_PATH, AT_PATH)[0][-1] == "WrongType"


def test_a_fault_of_the_wish_is_placed():
    one = declared(MANIFEST.replace("ram: 8000", "cpu_num: 99"))
    with pytest.raises(InvalidSpec) as caught:
        wish_of_manifest(one.manifest, CONF, vos=(one.place.vo,))
    (fault,) = caught.value.faults
    assert str(fault_of(one, fault)) == (
        "deploy/a.yaml:8:14 /spec/hardware/cpu_num: 99 is not a whole number from 1 to 64"
    )


def test_what_is_allowed_is_said_where_the_message_does_not():
    one = declared(MANIFEST)
    fault = fault_of(one, Fault("/spec/x", "Code", "is wrong", "this or that"))
    assert str(fault) == "deploy/a.yaml:7:1 /spec/x: is wrong; allowed: this or that"


def test_a_secret_is_not_in_a_fault():
    """C39."""
    one = declared(MANIFEST + "  general: {service: jupyterlab, jupyter_password: tiny}\n")
    with pytest.raises(InvalidSpec) as caught:
        wish_of_manifest(one.manifest, CONF, vos=(one.place.vo,))
    texts = [str(fault_of(one, fault)) for fault in caught.value.faults]
    assert len(texts) == 1
    assert "tiny" not in texts[0]


def test_a_file_that_could_not_be_read_declares_nothing():
    found = unread("a\x1b\udcff.yaml", "no\nway")
    assert (found.declared, found.readable) == ([], False)
    assert str(found.faults[0]) == r"a\x1b\udcff.yaml:1:1: no\nway"


@pytest.mark.parametrize("path", ["a\x1b[2J.yaml", "a\n.yaml", "a\udcff.yaml", "a\u202e.yaml"])
def test_a_path_that_no_one_can_see_is_refused(path):
    """C31."""
    found = read(MANIFEST, path=path)
    assert (found.declared, found.readable) == ([], False)
    assert str(found.faults[0]).isprintable()


def test_the_faults_of_a_file_are_counted_out():
    found = read("---\nx: 1\n" * 500)
    assert len(found.faults) == MAX_FAULTS + 1
    assert found.faults[-1].message == f"{3 * 500 - MAX_FAULTS} more faults"


def check(found, path):
    """Whatever was read: faults are bounded and printable, and doubt is never without a reason."""
    assert found.readable == (not found.faults)
    assert len(found.faults) <= MAX_FAULTS + 1
    for fault in found.faults:
        assert isinstance(fault, FileFault)
        texts = (fault.path, fault.pointer, fault.code, fault.message, fault.allowed)
        assert all(text.isprintable() and len(text) <= MAX_PATH for text in texts)
        assert str(fault).isprintable()
        assert min(fault.line, fault.column) >= 1
    for one in found.declared:
        assert one.path == path
        assert one.manifest["metadata"]["vo"] == one.place.vo in VOS
        assert "owner" not in one.manifest["metadata"]
        with contextlib.suppress(InvalidSpec):
            wish = wish_of_manifest(one.manifest, CONF, vos=(one.place.vo,))
            assert (wish.vo, wish.name) == one.place[1:]


ANY_RULES = st.sampled_from([RULES, BY_PATH, LOCAL, Rules(), Rules(layout="path")])
PATHS = st.sampled_from([AT_PATH, "a.yaml", "a.json", f"{VOS[0]}/%41/a.json"]) | st.text(max_size=9)
WORDS = st.sampled_from(
    [
        *("metadata", "spec", "kind", "apiVersion", "name", "vo", "owner", "iss", "sub"),
        *("general", "virtual_organization", "labels", "status", EGI, *VOS, "train-a"),
        *("Deployment", "ai4papi/v1", "alice@egi.eu", "\x1b[2J", "\0", "\ud800", "x" * 99),
    ]
)  # fmt: skip
TREES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": st.just("ai4papi/v1") | TREES,
        "kind": st.just("Deployment") | TREES,
        "metadata": TREES
        | st.fixed_dictionaries(
            {},
            optional={
                "name": st.just("train-a") | TREES,
                "vo": st.sampled_from(VOS) | TREES,
                "owner": st.just(ALICE.sub)
                | TREES
                | st.fixed_dictionaries({"iss": st.just(EGI) | TREES, "sub": st.just("a") | TREES}),
                "uid": TREES,
            },
        ),
        "spec": TREES
        | st.fixed_dictionaries(
            {"general": st.fixed_dictionaries({"virtual_organization": st.sampled_from(VOS)})}
        ),
        "\x1b": TREES,
    },
)


@given(st.binary(max_size=80), PATHS, ANY_RULES)
def test_any_bytes_are_read_or_told(content, path, rules):
    check(read_file(path, content, rules), path)


@given(
    st.text(st.sampled_from("ab:-?[]{}&*!|>'\"%@`,# \n\r\t~<\\\0\x85\u20281.eé\x1b"), max_size=60),
    PATHS,
    ANY_RULES,
)
def test_any_text_is_read_or_told(text, path, rules):
    check(read(text, rules, path), path)


@given(st.lists(DOCUMENTS | TREES, max_size=3), PATHS, ANY_RULES)
def test_any_documents_are_read_or_told(trees, path, rules):
    text = "\n---\n".join(map(json.dumps, trees))
    check(read(text, rules, path), path)
