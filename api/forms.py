"""The form of one module for one person: what is known of the module, the quota and the cluster is
filled into what the operator offers everybody.

Whatever can't be known at the moment is left as the operator wrote it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from api.auth import User
from api.catalog import Catalog
from specs.catalog.metadata import Minimum
from specs.catalog.shelf import Stored
from specs.faults import NotFound
from specs.quota import MODEL_PREFIX, NOTHING, Amounts, Quotas
from specs.texts import printable, shown
from specs.userconf import IMAGE_FIELD, MAX_NUMBER, TAG_FIELD, VO_FIELD, UserConf, is_module

HARDWARE: Final = ("cpu_num", "gpu_num", "ram", "disk")
"""What a module can need at least, and a quota allow at most."""

MAX_NOTE: Final = 200

Form = dict[str, Any]
"""{group: {key: {name, value, options?, range?, description?, free?}}}"""


class Gpu(Protocol):
    """How many GPUs of a model there are, and how many are free now."""

    @property
    def model(self) -> str:
        """As the nodes report it, and as `gpu_type` says it."""
        ...

    @property
    def free(self) -> int:
        """How many a new deployment could be given now."""
        ...


@dataclass(frozen=True, slots=True)
class Forms:
    """Fills in forms. `gpus` and `image_tags` as `Services` has them."""

    conf: UserConf
    quotas: Quotas
    catalog: Catalog
    gpus: Callable[[], Sequence[Gpu] | None]
    image_tags: Callable[[str], Sequence[str]]

    def form(self, user: User | None, name: str, *, vo: str | None = None) -> Form:
        """Return the form of a module as `user` may fill it in in `vo`; None: where it goes then.

        Of a name that the catalogue does not have it is the form of the image of that name, and the
        image's description says so: a spec may name it too. Its registry is not asked.
        Raises: NotFound where it can be no module's name.
        """
        if not is_module(name):
            raise NotFound(f"{shown(name)} is not the name of a module")
        vos = user.vos if user else ()
        form = self.conf.form(vos=vos, vo=vo, module=name)
        chosen = form[VO_FIELD[0]][VO_FIELD[1]]["value"]
        own = self.quotas.vo.get(chosen, NOTHING) if chosen in vos else NOTHING
        limits = at_most(self.quotas.user, own)
        module = self.catalog.look().catalog.modules.get(name)
        fill_in_module(form, module, name=name)
        if module is not None and module.metadata is not None:
            fill_in_tags(form, self.image_tags(_field(form, IMAGE_FIELD)["value"]))
            fill_in_bounds(form, limits, module.metadata.resources)
        else:
            fill_in_bounds(form, limits, None)
        gpus = self.gpus()
        if gpus is not None:
            fill_in_gpus(form, gpus, limits)
        return form


def at_most(one: Amounts, other: Amounts) -> Amounts:
    """Return the smaller limit of each item; what has none in either has none."""
    return {
        item: min(limits[item] for limits in (one, other) if item in limits)
        for item in {**one, **other}
    }


def fill_in_module(form: Form, module: Stored | None, *, name: str) -> None:
    """Set the module's image, or say why it is only guessed from the name."""
    image = _field(form, IMAGE_FIELD)
    if module is not None and module.metadata is not None:
        if module.metadata.docker_image:
            image["value"] = module.metadata.docker_image
        return
    note = f"the catalogue has no module {name}: this is the image of that name"
    if module is not None:
        note = (
            f"the metadata of {name} can't be used: this is the image of that name; {module.fault}"
        )
    _note(image, note)


def fill_in_tags(form: Form, tags: Sequence[str]) -> None:
    """Offer the image's tags; the operator's default alone where the registry tells none."""
    field = _field(form, TAG_FIELD)
    field["options"] = list(tags) or [field["value"]]
    if field["value"] not in field["options"]:
        field["value"] = field["options"][0]


def fill_in_bounds(form: Form, limits: Amounts, minimum: Minimum | None) -> None:
    """Narrow the ranges of the hardware: the module's minimum from below, the quota from above.

    A default below the minimum is raised to it. Where there is no room between the two, the highest
    is all that is left, and the description says that it is too little.
    """
    for key in HARDWARE:
        field = form["hardware"][key]
        least: int | None = getattr(minimum, key, None)
        if least is None and key not in limits:
            continue
        low, high = field.get("range", (0, MAX_NUMBER))
        high = min(high, limits.get(key, high))
        low = min(max(low, least or 0), high)
        field["range"] = [low, high]
        field["value"] = min(max(field["value"], low), high)
        if least is not None and least > high:
            _note(field, f"the module needs {least}, and {high} is the most that you may have")


def fill_in_gpus(form: Form, gpus: Sequence[Gpu], limits: Amounts) -> None:
    """Offer those models that the operator allows, the cluster has and the quota lets be asked for.

    `free` says how many of each a new deployment could be given now.
    """
    field = form["hardware"]["gpu_type"]
    allowed = field.get("options")
    offered = {
        gpu.model: gpu.free
        for gpu in gpus
        if (allowed is None or gpu.model in allowed) and limits.get(MODEL_PREFIX + gpu.model) != 0
    }
    kept = [field["value"], *([""] if allowed is None or "" in allowed else [])]
    field["options"] = list(dict.fromkeys([*kept, *offered]))
    field["free"] = offered


def _note(field: dict[str, Any], note: str) -> None:
    described = field.get("description", "")
    field["description"] = f"{described}{described and '; '}{printable(note, MAX_NOTE)}"


def _field(form: Form, key: tuple[str, str]) -> dict[str, Any]:
    field: dict[str, Any] = form[key[0]][key[1]]
    return field
