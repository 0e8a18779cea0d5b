"""The Variables of our jobs in a real Nomad: what must reach a task as it was typed."""

from collections.abc import Mapping

from nomad import api
from nomad.api.exceptions import VariableConflict

from reconciler.cluster.access import Access, segment
from reconciler.cluster.namespaces import Namespaces
from reconciler.errors import JobConflict
from reconciler.jobs import JobRef


class Variables:
    """The Variables at `nomad/jobs/<job id>`. Its methods raise python-nomad's errors too: call
    them `asking`."""

    def __init__(self, access: Access, namespaces: Namespaces) -> None:
        self._access = access
        self._namespaces = namespaces

    def read(self, ref: JobRef) -> tuple[Mapping[str, str], int] | None:
        """Read the items and the index, or None."""
        variable = self._access.at(api.Variable, ref.namespace)
        read = self._namespaces.unless_absent(
            "variable not found",
            ref.namespace,
            lambda: variable.get_variable(_path(ref), namespace=ref.namespace),
        )
        return None if read is None else (dict(read["Items"]), int(read["ModifyIndex"]))

    def put(self, ref: JobRef, items: Mapping[str, str], *, if_index: int) -> int:
        """Write if it is at `if_index` (0: absent); return the new index."""
        try:
            written = self._access.at(api.Variable, ref.namespace).create_variable(
                _path(ref), {"Items": dict(items)}, namespace=ref.namespace, cas=if_index
            )
        except VariableConflict:
            # Its body holds the secrets as they are now: nothing of it may reach a log.
            raise JobConflict(f"{_path(ref)} is no longer at index {if_index}") from None
        return int(written["ModifyIndex"])

    def delete(self, ref: JobRef) -> None:
        """Remove it. Removing a missing one is fine."""
        self._access.at(api.Variable, ref.namespace).delete_variable(
            _path(ref), namespace=ref.namespace
        )


def _path(ref: JobRef) -> str:
    return f"nomad/jobs/{segment(ref.id)}"
