"""Secrets on the disk."""

import pytest

from specs.faults import InvalidSpec, SealBroken
from specs.sealing import MARK, Seal, keys_of, made_once, opened, sealed

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
OTHER = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU="


@pytest.mark.parametrize("value", ["s3cret", "", "ä\n\0🍎", "sealed:1:x", "x" * 1024])
def test_what_is_sealed_opens_and_tells_nothing(value):
    seal = Seal([KEY])
    kept = seal.seal("uid", "general.jupyter_password", value)
    assert value == "" or value not in kept
    assert opened("uid", {"general.jupyter_password": kept}, seal) == {
        "general.jupyter_password": value
    }
    assert kept != seal.seal("uid", "general.jupyter_password", value)


@pytest.mark.parametrize(("uid", "name"), [("other", "n"), ("uid", "other")])
def test_a_row_that_was_put_in_anothers_place_is_refused(uid, name):
    seal = Seal([KEY])
    with pytest.raises(SealBroken):
        seal.open(uid, name, seal.seal("uid", "n", "s3cret"))


@pytest.mark.parametrize(
    "changed", [lambda k: k[:60] + "-_" + k[62:], lambda k: k[:-8], lambda k: MARK]
)
def test_what_was_tampered_with_is_refused(changed):
    seal = Seal([KEY])
    with pytest.raises(SealBroken) as refused:
        seal.open("uid", "n", changed(seal.seal("uid", "n", "s3cret")))
    assert "s3cret" not in str(refused.value)


def test_a_new_key_in_front_seals_and_the_old_one_still_opens():
    kept = Seal([OTHER]).seal("uid", "n", "s3cret")
    both = Seal([KEY, OTHER])
    assert both.open("uid", "n", kept) == "s3cret"
    assert Seal([KEY]).open("uid", "n", both.seal("uid", "n", "s3cret")) == "s3cret"
    with pytest.raises(SealBroken):
        Seal([KEY]).open("uid", "n", kept)


@pytest.mark.parametrize("text", [KEY, KEY.rstrip("="), f" {KEY}\n"])
def test_a_key_is_read_as_openssl_writes_it(text):
    Seal(keys_of(text))
    Seal(keys_of("+/" + text.strip()[2:]))


@pytest.mark.parametrize("key", ["short", KEY + KEY, "ö" * 43, KEY[:-2] + "==", "   "])
def test_what_is_no_key_is_refused_without_being_repeated(key):
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        Seal(keys_of(key))
    assert key.strip() == "" or key not in str(refused.value)


def test_without_a_key_no_secret_is_taken_and_all_are_named():
    assert sealed("uid", {}, None) == {}
    with pytest.raises(InvalidSpec) as refused:
        sealed("uid", {"general.jupyter_password": "a", "storage.rclone_password": "b"}, None)
    assert [fault.pointer for fault in refused.value.faults] == [
        "/spec/general/jupyter_password",
        "/spec/storage/rclone_password",
    ]
    with pytest.raises(SealBroken):
        opened("uid", {"n": Seal([KEY]).seal("uid", "n", "s3cret")}, None)


def test_what_was_stored_before_there_were_keys_is_read_as_it_is():
    assert opened("uid", {"n": "old"}, Seal([KEY])) == {"n": "old"}


def test_a_key_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "secret.key"
    keys = made_once(path)
    assert Seal(keys)
    assert path.stat().st_mode & 0o777 == 0o600
    assert made_once(path) == keys
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        made_once(path)
