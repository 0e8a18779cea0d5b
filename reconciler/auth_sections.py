"""The section `auth` of `etc/main_conf.yaml`: whom the site trusts, and as what (pure)."""

import re
from typing import Annotated

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from reconciler.fields import ClaimName, Issuer, ScopeName, Section, VoName, Word
from specs.texts import shown


class EntitlementSettings(Section):
    """Which AARC-G002 entitlements say that somebody is a member of a VO."""

    claim: ClaimName = "eduperson_entitlement"
    namespace: str = Field(
        default="urn:mace:egi.eu",
        pattern=r"^urn:[a-z0-9][a-z0-9-]{0,31}(:[A-Za-z0-9][A-Za-z0-9._-]{0,252}){1,8}$",
    )
    authorities: tuple[Word, ...] = Field(default=("aai.egi.eu",), min_length=1)
    roles: tuple[Word, ...] = ("member", "vm_operator")
    from_token: bool = Field(default=False, strict=True)

    @field_validator("namespace")
    @classmethod
    def _names_no_group(cls, namespace: str) -> str:
        if "group" in namespace.split(":"):
            raise ValueError("must end before `:group:`")
        return namespace


class RealmRoleSettings(Section):
    """Which Keycloak roles `access:<vo>:<level>` count; without a claim none is read."""

    claim: ClaimName | None = None
    levels: tuple[Word, ...] = ("ap-a", "ap-a1", "ap-b", "ap-u", "ap-d")


class PersonSettings(Section):
    """Somebody by the pair that their provider guarantees to be unique; no `vo`: in every VO."""

    iss: Issuer
    sub: str = Field(min_length=1, max_length=255)
    vo: VoName | None = None


def _holder(value: object) -> str | PersonSettings:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,252}", value):
        return value
    try:
        return PersonSettings.model_validate(value)
    except ValidationError as error:
        keys = sorted({str(part["loc"][0]) for part in error.errors() if part["loc"]})
        wrong = f"; look at {', '.join(keys)}" if keys else ""
        raise ValueError(
            f"must be a role or level as one word, or a person {{iss, sub, vo}}{wrong}"
        ) from error


Holder = Annotated[str | PersonSettings, PlainValidator(_holder)]


class RoleSettings(Section):
    """Who is more than a user: by an entitlement's role, a realm role's level, or by person."""

    operator: tuple[Holder, ...] = ()
    editor: tuple[Holder, ...] = ()
    auditor: tuple[Holder, ...] = ()


def _texts(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class AuthSettings(Section):
    """Whose tokens are taken (`OP`, exact issuers), which VOs are served and who is who there.

    `client_id` and `scopes` are for those who log in, and are told to everybody.
    """

    OP: tuple[Issuer, ...] = ()
    VO: tuple[VoName, ...] = Field(min_length=1)
    audience: Annotated[
        Annotated[tuple[ClaimName, ...], Field(min_length=1)] | None, BeforeValidator(_texts)
    ] = None
    entitlements: EntitlementSettings = EntitlementSettings()
    realm_roles: RealmRoleSettings = RealmRoleSettings()
    roles: RoleSettings = RoleSettings()
    client_id: str | None = Field(default=None, pattern=r"^[!-~]{1,255}$")
    scopes: tuple[ScopeName, ...] = (
        "openid",
        "profile",
        "offline_access",
        "eduperson_entitlement",
    )

    @field_validator("roles")
    @classmethod
    def _people_can_come(cls, roles: RoleSettings, known: ValidationInfo) -> RoleSettings:
        for holder in (*roles.operator, *roles.editor, *roles.auditor):
            if isinstance(holder, PersonSettings):
                if holder.iss not in known.data.get("OP", (holder.iss,)):
                    raise ValueError(f"names the issuer {shown(holder.iss)}, which OP does not")
                if holder.vo not in (None, *known.data.get("VO", (holder.vo,))):
                    raise ValueError(f"names the VO {shown(holder.vo)}, which VO does not")
        return roles
