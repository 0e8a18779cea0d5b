"""Our namespaces of a real Nomad: whether they are there, and what is not there in them.

Nomad finds nothing in a namespace that does not exist, in the same words as elsewhere.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from nomad import api
from nomad.api.exceptions import URLNotAuthorizedNomadException, URLNotFoundNomadException

from reconciler.cluster.access import Access, segment
from reconciler.errors import ClusterForbidden
from reconciler.jobs import Json

log = logging.getLogger(__name__)

MADE_BY: Final = "Made by ai4papi for a virtual organization (nomad.namespaces in main_conf.yaml)"

CAPABILITIES: Final = {"DisabledTaskDrivers": ["raw_exec", "exec", "java", "qemu"]}
"""A second wall, in namespaces of our making: no job of theirs runs outside a container, whoever
wrote it. A site whose template needs one of these drivers creates its namespaces itself."""


class Namespaces:
    """The namespaces that are ours. Its methods raise python-nomad's errors: call them `asking`."""

    def __init__(self, access: Access, names: Sequence[str]) -> None:
        self._access = access
        self._names = tuple(names)

    def ensure(self) -> None:
        """Create those that are missing; one that is there stays as it is.

        Raises: ClusterForbidden with the command of each that our token may not create or see.
        """
        lacking = [told for name in self._names if (told := self._lacking(name))]
        if lacking:
            raise ClusterForbidden("; ".join(lacking))

    def _lacking(self, name: str) -> str:
        """Return what an operator must do that there is this namespace for us, "" if nothing."""
        namespaces = self._access.at(api.Namespace, name)
        try:
            namespaces.get_namespace(segment(name))
        except URLNotFoundNomadException:
            pass
        except URLNotAuthorizedNomadException:
            return (
                f"our token sees no namespace {name}: if `nomad namespace status {name}` finds it,"
                " add it to the token's policy (etc/nomad-policy.hcl), else create it first with"
                f" `nomad namespace apply {name}`"
            )
        else:
            return ""
        try:
            namespaces.create_namespace(
                {"Name": name, "Description": MADE_BY, "Capabilities": CAPABILITIES}
            )
        except URLNotAuthorizedNomadException:
            return (
                f"Nomad has no namespace {name} and our token may not create it: run"
                f" `nomad namespace apply {name}`, or correct nomad.namespaces"
            )
        log.warning("namespace created", extra={"namespace": name})
        return ""

    def require_all(self) -> None:
        """Raise `ClusterForbidden` where one is missing or not for us to see."""
        there = {n["Name"] for n in self._access.at(api.Namespaces, "default").get_namespaces()}
        missing = sorted(set(self._names) - there)
        if missing:
            raise ClusterForbidden(
                f"Nomad shows us no namespace {', '.join(missing)}: create it, let our token see"
                " it, or correct nomad.namespaces"
            )

    def require(self, name: str) -> None:
        """Raise where this one, ours or not, does not exist."""
        self._access.at(api.Namespace, name).get_namespace(segment(name))

    def unless_absent(self, words: str, name: str, read: Callable[[], Json]) -> Json | None:
        """Return what `read` finds in a namespace, or None where Nomad says `words` of it."""
        try:
            found = read()
        except URLNotFoundNomadException as error:
            if error.nomad_resp.text.strip() != words:
                raise
        else:
            # `null` is an answer of somebody else's, not the absence of what was asked for.
            return {**found}
        self.require(name)
        return None
