"""What a person wishes, checked and complete: from manifests and from the seed's bodies (pure).

A wish is built in two steps: everything that is wrong is collected, with a JSON pointer each, and
only where nothing is wrong the defaults are filled in: the form's ← the module's ← the user's. A
module's are those that the record was let in with, while it names the same module: what a catalogue
says anew changes no deployment.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from specs.faults import Fault, NotAMember
from specs.images import split_reference
from specs.metadata import KEYS as METADATA_KEYS
from specs.metadata import metadata_faults
from specs.model import (
    API_VERSION,
    KIND,
    TTL,
    Deployment,
    DeploymentSpec,
    General,
    Hardware,
    Storage,
    Update,
)
from specs.shapes import mapping_at, mapping_faults, refuse
from specs.texts import near, pointer, shown
from specs.userconf import (
    GROUPS,
    IMAGE_FIELD,
    VO_FIELD,
    FieldKey,
    UserConf,
    Value,
    is_module,
    module_defaults,
)
from specs.values import Given, Values, read_values, value_faults

SPEC_KEYS: Final = (
    "module",
    *GROUPS,
    "suspend",
    "restart",
    "ttl",
    "expiresAt",
    "priorityClass",
    "update",
)
UPDATE_KEYS: Final = ("policy", "rollbackOnFailure")
POLICIES: Final = ("safe", "queue")
NOT_A_MEMBER: Final = "NotAMember"

MAX_RESTART: Final = 1_000_000

INSTANT_FORM: Final = (
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""An instant of RFC 3339."""

SHORT_SPELLINGS: Final = (
    ("general", "docker_image", "docker_tag"),
    ("hardware", "gpu", "gpu_num"),
)
"""(group, key, the key that it also says)."""


_INSTANT: Final = re.compile(INSTANT_FORM)


@dataclass(frozen=True, slots=True)
class Wish:
    """A complete, checked wish, ready to be stored.

    `spec` carries `SECRET_SET` where a secret is set and "" where none is. `secrets` maps
    `secret_name(group, key)` to the value; `SECRET_SET` as a value keeps the stored one, an absent
    name means that there is none. `module_defaults` are what its module set where it said nothing.
    """

    vo: str
    name: str
    spec: DeploymentSpec
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    module_defaults: Mapping[FieldKey, Value] = field(default_factory=dict)


def wish_of_manifest(
    body: object,
    conf: UserConf,
    *,
    vos: Sequence[str],
    classes: Mapping[str, Collection[str]] = {},
    kept: Deployment | None = None,
    modules: Callable[[str], Mapping[FieldKey, Value]] = module_defaults,
) -> Wish:
    """Read a manifest: `{apiVersion, kind, metadata, spec}`.

    `vos` are the caller's; `classes` are the site's priority classes, each with the VOs in which
    the caller may ask for it. `kept` is the record that the manifest replaces: what a secret said
    to be kept is kept from, whose VO stands where none is named, and whose values may stay.
    `modules` returns what a module sets where nothing is said; its numbers are minimums.

    Raises `InvalidSpec` with every fault, to be shown all; `NotAMember` where only the VO is wrong.
    """
    faults = list(manifest_faults(body))
    metadata, spec = mapping_at(body, "metadata"), mapping_at(body, "spec")
    chosen = [*_named_vo(metadata.get("vo"), "/metadata/vo"), *_chosen_vo(spec, "/spec")]
    fallback = (kept.vo,) if kept else (_usual_vo(conf), *_only(vos))
    vo, vo_faults = _choose_vo(chosen, vos, fallback=fallback, at="/metadata/vo")
    conf = conf.in_vo(vo)
    module = _of_module(spec.get("module"), modules, kept)
    values = read_values(spec, conf, "/spec", module=module)
    faults += value_faults(spec, values, conf, kept=kept)
    faults += _priority_faults(spec.get("priorityClass"), classes, vo=vo, kept=kept)
    _refuse(faults, vo_faults)
    return Wish(
        vo=vo,
        name=metadata["name"],
        spec=_spec(values, spec, vo=vo),
        secrets=values.secrets(),
        labels=dict(metadata.get("labels", {})),
        annotations=dict(metadata.get("annotations", {})),
        module_defaults=dict(module),
    )


def wish_of_conf(conf_body: object, conf: UserConf, *, vos: Sequence[str], name: str) -> Wish:
    """Read the seed's body `{general, hardware, storage}`; groups and keys are optional.

    Where no VO is given it is the form's, or the first of the caller's `vos`, as the form says.

    Raises `InvalidSpec` with every fault, to be shown all; `NotAMember` where only the VO is wrong.
    """
    faults = list(mapping_faults(conf_body, tuple(GROUPS), ""))
    body = conf_body if isinstance(conf_body, Mapping) else {}
    fallback, at = (_usual_vo(conf), *vos), pointer("", *VO_FIELD)
    vo, vo_faults = _choose_vo(_chosen_vo(body, ""), vos, fallback=fallback, at=at)
    conf = conf.in_vo(vo)
    values = read_values(body, conf, "", module={})
    faults += value_faults(body, values, conf, kept=None)
    _refuse(faults, vo_faults)
    return Wish(vo=vo, name=name, spec=_spec(values, {}, vo=vo), secrets=values.secrets())


def manifest_of(deployment: Deployment) -> dict[str, Any]:
    """Return the manifest that, applied to this deployment, changes nothing."""
    metadata: dict[str, Any] = {"name": deployment.name, "vo": deployment.vo}
    if deployment.labels:
        metadata["labels"] = dict(deployment.labels)
    if deployment.annotations:
        metadata["annotations"] = dict(deployment.annotations)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": deployment.spec.model_dump(mode="json", exclude_none=True),
    }


def recorded_defaults(record: Deployment | None, module: object) -> Mapping[FieldKey, Value] | None:
    """Return what the module set when the record was let in; None where it is of another module."""
    if record is None or not is_module(module) or record.spec.module != module:
        return None
    # Records of versions that wrote nothing down had the image of the module's name.
    return record.module_defaults or module_defaults(module)


def merge_patch(target: object, patch: object) -> object:
    """Return `target` with the JSON Merge Patch of RFC 7396 applied; neither is changed."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    # A list of what is left instead of recursion: how deep a patch goes is the sender's choice.
    left: list[tuple[dict[str, Any], Mapping[str, Any]]] = [(merged, patch)]
    while left:
        into, changes = left.pop()
        for key, change in changes.items():
            if change is None:
                into.pop(key, None)
            elif isinstance(change, Mapping):
                old = into.get(key)
                into[key] = dict(old) if isinstance(old, Mapping) else {}
                left.append((into[key], change))
            else:
                into[key] = change
    return merged


def patched_manifest(
    manifest: object, patch: object, *, defaults: Mapping[FieldKey, Value] = {}
) -> object:
    """Return `manifest` with a merge patch of it, whose short spellings replace the full ones.

    A tag inside `docker_image` stands for `docker_tag`, `gpu` for `gpu_num`: a person who patches
    the one does not mean to contradict what the other said before. Nor does one who patches the
    module mean to keep its image and resources where they are the `defaults` of the one before:
    they are open again.
    """
    merged = merge_patch(manifest, patch)
    module = mapping_at(patch, "spec").get("module")
    if module is not None and module != mapping_at(manifest, "spec").get("module"):
        merged = _opened(merged, patch, defaults)
    for group, short, full in SHORT_SPELLINGS:
        said = mapping_at(mapping_at(patch, "spec"), group)
        tagged = short != "docker_image" or split_reference(str(said.get(short)))[1]
        if said.get(short) is not None and full not in said and tagged:
            merged = merge_patch(merged, {"spec": {group: {full: None}}})
    return merged


def _opened(merged: object, patch: object, defaults: Mapping[FieldKey, Value]) -> object:
    """Take image and resources that are the defaults out of `merged`, if `patch` says none."""
    for (group, key), value in defaults.items():
        follows = (group, key) == IMAGE_FIELD or group == "hardware"
        unsaid = key not in mapping_at(mapping_at(patch, "spec"), group)
        stands = mapping_at(mapping_at(merged, "spec"), group).get(key)
        if follows and unsaid and stands == value:
            merged = merge_patch(merged, {"spec": {group: {key: None}}})
    return merged


def manifest_faults(
    body: object, *, metadata_keys: Collection[str] = METADATA_KEYS
) -> Iterator[Fault]:
    """Say all that is wrong with a manifest, the choice of VO and the form's groups excepted."""
    if isinstance(body, Mapping) and "status" in body:
        yield Fault("/status", "ServerSet", "status is set by the server: leave it out")
        body = {key: value for key, value in body.items() if key != "status"}
    keys = ("apiVersion", "kind", "metadata", "spec")
    yield from mapping_faults(body, keys, "", required=("metadata", "spec"))
    if not isinstance(body, Mapping):
        return
    for key, word in (("apiVersion", API_VERSION), ("kind", KIND)):
        if body.get(key, word) != word:
            yield Fault(pointer("", key), "NotAnOption", f"{shown(body[key])} is not {word}", word)
    if "metadata" in body:
        yield from metadata_faults(body["metadata"], "/metadata", keys=metadata_keys)
    if "spec" in body:
        yield from _switch_faults(body["spec"])


def _switch_faults(spec: object) -> Iterator[Fault]:
    """Check what a manifest's spec has beside the groups of the form."""
    yield from mapping_faults(spec, SPEC_KEYS, "/spec")
    if not isinstance(spec, Mapping):
        return
    module = spec.get("module")
    if module is not None and not is_module(module):
        allowed = "the name of a module: letters, digits, and - _ . between them"
        yield Fault("/spec/module", "BadModule", f"{shown(module)} is not {allowed}", allowed)
    yield from _bool_faults(spec, "suspend", "/spec")
    restart = spec.get("restart", 0)
    if type(restart) is not int or not 0 <= restart <= MAX_RESTART:
        allowed = f"a whole number from 0 to {MAX_RESTART}"
        yield Fault("/spec/restart", "BadCounter", f"{shown(restart)} is not {allowed}", allowed)
    yield from _end_faults(spec.get("ttl"), spec.get("expiresAt"))
    if "update" not in spec:
        return
    yield from mapping_faults(spec["update"], UPDATE_KEYS, "/spec/update")
    changes = mapping_at(spec, "update")
    policy = changes.get("policy", "safe")
    if policy not in POLICIES:
        allowed = f"one of {', '.join(POLICIES)}"
        message = f"{shown(policy)} is not {allowed}"
        yield Fault("/spec/update/policy", "NotAnOption", message, allowed)
    yield from _bool_faults(changes, "rollbackOnFailure", "/spec/update")


def _bool_faults(group: Mapping[str, Any], key: str, at: str) -> Iterator[Fault]:
    value = group.get(key, False)
    if not isinstance(value, bool):
        message = f"must be true or false, not {shown(value)}"
        yield Fault(pointer(at, key), "WrongType", message, "true, false")


def _end_faults(ttl: object, expires_at: object) -> Iterator[Fault]:
    """Check when the work is to end; null says nothing."""
    if ttl is not None and not (isinstance(ttl, str) and TTL.fullmatch(ttl)):
        allowed = "a whole number of minutes, hours or days, like 90m, 12h or 7d"
        yield Fault("/spec/ttl", "BadDuration", f"{shown(ttl)} is not {allowed}", allowed)
    if expires_at is not None and _instant(expires_at) is None:
        allowed = "an instant of RFC 3339 with its zone, like 2027-01-31T18:00:00Z"
        message = f"{shown(expires_at)} is not {allowed}"
        yield Fault("/spec/expiresAt", "BadInstant", message, allowed)
    if ttl is not None and expires_at is not None:
        message = "the spec says with ttl when the work ends: say it once"
        yield Fault("/spec/expiresAt", "Contradiction", message, "ttl or expiresAt")


def _of_module(
    module: object,
    modules: Callable[[str], Mapping[FieldKey, Value]],
    kept: Deployment | None,
) -> Mapping[FieldKey, Value]:
    recorded = recorded_defaults(kept, module)
    if recorded is not None:
        return recorded
    return modules(module) if isinstance(module, str) and is_module(module) else {}


def _priority_faults(
    name: object,
    classes: Mapping[str, Collection[str]],
    *,
    vo: str,
    kept: Deployment | None,
) -> Iterator[Fault]:
    """Check the class; null says nothing, and one that an operator gave may stay."""
    if name is None or (kept is not None and name == kept.spec.priority_class):
        return
    usable = [known for known, vos in classes.items() if vo in vos or not vo]
    if name in usable:
        return
    allowed = f"one of your priority classes: {', '.join(usable) or 'you have none'}"
    for_others = name in list(classes)
    code = "RoleNeeded" if for_others else "NotAnOption"
    hint = "another role may ask for it" if for_others else near(name, usable)
    message = f"{shown(name)} is not {allowed}{hint and '; ' + hint}"
    yield Fault("/spec/priorityClass", code, message, allowed)


def _instant(text: object) -> datetime | None:
    """Return the instant that `text` writes, in UTC; None where it is no instant."""
    if not isinstance(text, str) or _INSTANT.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None  # the 30th of February; a year that no zone leaves within 1 to 9999


def _only(vos: Sequence[str]) -> Sequence[str]:
    return vos if len(vos) == 1 else ()


def _named_vo(vo: object, at: str) -> Sequence[Given]:
    return () if vo is None else (Given(vo, at),)


def _chosen_vo(groups: Mapping[str, Any], root: str) -> Sequence[Given]:
    """Return the VO of the form's own field; "" there leaves the choice open."""
    group, key = VO_FIELD
    vo = mapping_at(groups, group).get(key)
    return (Given(vo, pointer(root, group, key)),) if isinstance(vo, str) and vo else ()


def _usual_vo(conf: UserConf) -> str:
    return str(conf.fields[VO_FIELD].value)


def _choose_vo(
    chosen: Sequence[Given], vos: Sequence[str], *, fallback: Sequence[str], at: str
) -> tuple[str, Sequence[Fault]]:
    """Return the VO and what is wrong with the choice: the caller's, else the first fallback."""
    allowed = _membership(vos)
    foreign = [given for given in chosen if given.value not in vos]
    if foreign:
        return "", [
            Fault(given.at, _foreign_code(given.value), _not_a_member(given.value, vos), allowed)
            for given in foreign
        ]
    if len({given.value for given in chosen}) > 1:
        first, second = chosen
        message = f"{shown(second.value)} is not the VO at {first.at}, {shown(first.value)}"
        return "", [Fault(second.at, "Contradiction", message, shown(first.value))]
    for vo in (*(given.value for given in chosen), *fallback):
        if vo in vos:
            return vo, []
    code = "Required" if vos else NOT_A_MEMBER
    return "", [Fault(at, code, f"must say {allowed}", allowed)]


def _foreign_code(value: object) -> str:
    return NOT_A_MEMBER if isinstance(value, str) else "WrongType"


def _refuse(faults: Sequence[Fault], vo_faults: Sequence[Fault]) -> None:
    if vo_faults and not faults and all(fault.code == NOT_A_MEMBER for fault in vo_faults):
        raise NotAMember(vo_faults)
    refuse([*faults, *vo_faults])


def _membership(vos: Sequence[str]) -> str:
    return f"one of your virtual organizations: {', '.join(vos) or 'you have none'}"


def _not_a_member(vo: object, vos: Sequence[str]) -> str:
    hint = near(vo, vos)
    return f"{shown(vo)} is not {_membership(vos)}{hint and '; ' + hint}"


def _spec(values: Values, switches: Mapping[str, Any], *, vo: str) -> DeploymentSpec:
    groups = values.groups()
    groups[VO_FIELD[0]][VO_FIELD[1]] = vo
    return DeploymentSpec(
        module=switches.get("module"),
        general=General(**groups["general"]),
        hardware=Hardware(**groups["hardware"]),
        storage=Storage(**groups["storage"]),
        suspend=switches.get("suspend", False),
        restart=switches.get("restart", 0),
        ttl=switches.get("ttl"),
        expiresAt=_instant(switches.get("expiresAt")),
        priorityClass=switches.get("priorityClass"),
        update=Update(**switches.get("update", {})),
    )
