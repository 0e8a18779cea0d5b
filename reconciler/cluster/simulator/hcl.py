"""HCL to Nomad's job JSON, through python-hcl2 (pure).

Reads what `etc/job.nomad` may hold. Blocks, arguments and functions beyond that are refused by name
rather than dropped: what the simulator accepts, Nomad must read the same.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from reconciler.cluster.simulator.hcl_blocks import BLOCKS, LABEL, OPERAND_ARGUMENTS, Argument
from reconciler.cluster.simulator.hcl_text import parse_duration_ns, plain, plain_tree
from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.shapes import SHAPES

Tree = Mapping[str, Any]
_MARK: Final = "__is_block__"


def parse_job(text: str) -> dict[str, Any]:
    """Return the job JSON of one HCL job specification, set fields only.

    Raises `Refusal` 400 where the text is no HCL or holds what the simulator does not read.
    """
    if not text.strip():
        raise Refusal(400, "Job spec is empty")
    tree = _read(text)
    strangers = [name for name in tree if name != "job"]
    if strangers:
        raise _fault(f'Blocks of type "{strangers[0]}" are not expected here.')
    jobs = list(_labelled(tree.get("job", [])))
    if len(jobs) != 1:
        raise _fault(f"A job specification holds one job block, this one {len(jobs)}.")
    label, body = jobs[0]
    job = {"ID": label, "Name": label, **_block("job", body)}
    return _with_nulls("Job", job)


def _with_nulls(shape: str, taken: Tree) -> dict[str, Any]:
    """Return an object with null for every field that was not written, as Nomad's parser does."""
    full: dict[str, Any] = dict.fromkeys(SHAPES[shape])
    for name, value in taken.items():
        kind = SHAPES[shape][name].kind
        if kind in SHAPES:
            full[name] = _with_nulls(kind, value)
        elif kind.startswith("["):
            full[name] = [_with_nulls(kind[1:-1], item) for item in value]
        else:
            full[name] = value
    return full


def _read(text: str) -> Tree:
    import hcl2  # noqa: PLC0415 - costs 0.1 s, and only the parse call needs it
    from lark.exceptions import LarkError, UnexpectedInput  # noqa: PLC0415 - as above

    try:
        return hcl2.loads(
            text if text.endswith("\n") else text + "\n",
            serialization_options=hcl2.SerializationOptions(with_comments=False),
        )
    except UnexpectedInput as error:
        where = f"input.hcl:{error.line},{error.column}"
        raise Refusal(400, f"Failed to parse job: {where}: not understood here") from error
    except (LarkError, RecursionError) as error:
        raise _fault(f"not understood: {type(error).__name__}") from error


def _fault(text: str) -> Refusal:
    return Refusal(400, f"Failed to parse job: input.hcl: {text}")


def _block(kind: str, body: Tree) -> dict[str, Any]:
    arguments = BLOCKS[kind]
    taken: dict[str, Any] = {}
    for name, value in body.items():
        if name == _MARK or value is None:
            continue
        argument = arguments.get(name)
        if argument is None:
            raise _fault(f'"{name}" in a {kind} block is not known to the simulator.')
        taken[argument.field] = _argument(argument, name, value)
    return _SHAPED.get(kind, dict)(taken)


def _argument(argument: Argument, name: str, value: Any) -> Any:
    kind = argument.kind
    if kind in _SCALARS:
        return _SCALARS[kind](name, value)
    if kind == "texts":
        return {key: _text(name, item) for key, item in _merged(value).items()}
    if kind == "config":
        return _config(_merged(value))
    if kind.startswith("["):
        return list(_many(kind[1:-1], value))
    blocks = list(_many(kind, value))
    if len(blocks) != 1:
        raise _fault(f"Only one {name} block is allowed.")
    return blocks[0]


def _many(kind: str, value: Any) -> Iterator[dict[str, Any]]:
    """Yield one object per block; the label, where the kind has one, is its name."""
    if LABEL not in BLOCKS[kind]:
        for body in _bodies(kind, value):
            yield _block(kind, body)
        return
    field = BLOCKS[kind][LABEL].field
    for label, body in _labelled(value):
        yield {field: label, **_block(kind, body)}


def _bodies(kind: str, value: Any) -> list[Tree]:
    bodies = value if isinstance(value, list) else [value]
    if not all(isinstance(body, Mapping) and body.get(_MARK) for body in bodies):
        raise _fault(f"{kind} takes blocks without a label.")
    return bodies


def _labelled(value: Any) -> Iterator[tuple[str, Tree]]:
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, Mapping) or item.get(_MARK) or len(item) != 1:
            raise _fault("A block that needs one label has none or too many.")
        for label, body in item.items():
            if not isinstance(body, Mapping) or not body.get(_MARK):
                raise _fault(f"Block {label} has too many labels.")
            yield plain(label), body


def _merged(value: Any) -> dict[str, Any]:
    """Return the entries of a map, written as an argument or as blocks."""
    entries: dict[str, Any] = {}
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, Mapping):
            raise _fault("A map is expected.")
        entries |= {plain(key): entry for key, entry in item.items() if key != _MARK}
    return entries


def _config(entries: Tree) -> dict[str, Any]:
    """Return a driver's configuration: Nomad makes a list of every block and object in it."""
    return {
        name: [_config(_merged(value))] if isinstance(value, Mapping) else _config_value(value)
        for name, value in entries.items()
        if value is not None
    }


def _config_value(value: Any) -> Any:
    if isinstance(value, list):
        return [
            _config(_merged(item)) if isinstance(item, Mapping) else plain_tree(item)
            for item in value
        ]
    return plain_tree(value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return plain(value)
    raise _fault(f"{name}: a text is expected.")


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _fault(f"{name}: a list of texts is expected.")
    return [_text(name, item) for item in value]


def _number(name: str, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r'"-?\d+"', value):
        return int(value.strip('"'))
    if type(value) is not int:
        raise _fault(f"{name}: a whole number is expected.")
    return value


def _bool(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise _fault(f"{name}: true or false is expected.")
    return value


def _duration(name: str, value: Any) -> int:
    if type(value) is int:
        return value
    try:
        return parse_duration_ns(plain(value))
    except (TypeError, ValueError) as error:
        raise _fault(f"{name}: a duration such as 30s is expected.") from error


_SCALARS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "text": _text,
    "strings": _texts,
    "number": _number,
    "bool": _bool,
    "duration": _duration,
}


def _constraint(taken: dict[str, Any]) -> dict[str, Any]:
    """Give a constraint or affinity its operand, which may be written as an argument of its own."""
    target: dict[str, Any] = {"LTarget": "", "Operand": "=", "RTarget": "", **taken}
    for name, operand in OPERAND_ARGUMENTS.items():
        if name in taken:
            target["Operand"] = operand
            target["RTarget"] = target.pop(name)
    if taken.get("distinct_property"):
        target["LTarget"], target["RTarget"] = taken["distinct_property"], taken.get("RTarget", "")
    return target


def _network(taken: dict[str, Any]) -> dict[str, Any]:
    ports = taken.pop("Ports", [])
    reserved = [port for port in ports if port["Value"]]
    dynamic = [port for port in ports if not port["Value"]]
    return {
        **taken,
        **({"DynamicPorts": dynamic} if dynamic else {}),
        **({"ReservedPorts": reserved} if reserved else {}),
    }


def _scaling(taken: dict[str, Any]) -> dict[str, Any]:
    if "Max" not in taken:
        raise _fault('The argument "max" is required, but no definition was found.')
    return {"ID": "", "Type": "horizontal", "CreateIndex": 0, "ModifyIndex": 0, **taken}


_SHAPED: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "constraint": _constraint,
    "affinity": _constraint,
    "network": _network,
    "scaling": _scaling,
    "port": lambda taken: {"To": 0, "Value": 0, "HostNetwork": "", **taken},
    "template": lambda taken: {
        "ChangeMode": "restart",
        "Perms": "0644",
        "Splay": 5 * 10**9,
        "ErrMissingKey": False,
        **taken,
    },
    "lifecycle": lambda taken: {"Sidecar": False, **taken},
}
