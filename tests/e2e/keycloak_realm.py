"""The realms of the tests' Keycloak, as its import reads them: users, clients, entitlements.

Traps: a list `clientScopes` would suppress the built-in scopes and with them `sub`, so the mapper
stands on each client; attributes that no profile names need `unmanagedAttributePolicy`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

AI4EOSC: Final = "vo.ai4eosc.eu"
IMAGINE: Final = "vo.imagine-ai.eu"

EGI: Final = "egi"
"""The realm that is trusted; with its name the issuer's path is that of EGI Check-In."""

STRANGER: Final = "stranger"
"""A realm of the same host that nobody trusts."""

IN_USERINFO: Final = "papi-egi"
"""A client whose tokens name no entitlement: userinfo does, as EGI's."""

IN_TOKEN: Final = "papi-token"
"""A client of which only the token names them."""

SHORT: Final = "papi-short"
DEVICE: Final = "papi-cli"
CLIENTS: Final = (IN_USERINFO, IN_TOKEN, SHORT, DEVICE)

SHORT_S: Final = 4
"""How long a token of the client `SHORT` lives."""

LEVEL: Final = f"access:{AI4EOSC}:ap-u"
"""The realm role by which frank is a user."""


def entitlement(vo: str, role: str = "member") -> str:
    """Return an entitlement as EGI writes it."""
    return f"urn:mace:egi.eu:group:{vo}:role={role}#aai.egi.eu"


USERS: Final[Mapping[str, Sequence[str]]] = {
    "alice": [entitlement(AI4EOSC)],
    "bob": [entitlement(AI4EOSC)],
    "paul": [entitlement(AI4EOSC)],
    "erin": [entitlement(AI4EOSC), entitlement(IMAGINE)],
    "carol": [entitlement("vo.elsewhere.example")],
    "dave": [],
    "mallory": [f"urn:mace:egi.eu:evil:group:{AI4EOSC}:role=member#aai.egi.eu"],
    "olga": [entitlement(AI4EOSC), entitlement(AI4EOSC, "vm_operator")],
    "audrey": [entitlement(AI4EOSC), entitlement(AI4EOSC, "auditor")],
    "frank": [],
}
"""Who there is, with their entitlements; frank has the realm role `LEVEL` instead."""


def realm(name: str, *, password: str) -> dict[str, Any]:
    """Return a realm in which everybody has this password."""
    return {
        "realm": name,
        "enabled": True,
        "accessTokenLifespan": 600,
        "roles": {"realm": [{"name": LEVEL}]},
        "users": [_user(user, held, password) for user, held in USERS.items()],
        "clients": [_client(client) for client in CLIENTS],
        "components": {
            "org.keycloak.userprofile.UserProfileProvider": [
                {
                    "providerId": "declarative-user-profile",
                    "config": {"kc.user.profile.config": [json.dumps(_PROFILE)]},
                }
            ]
        },
    }


_PROFILE: Final = {
    "unmanagedAttributePolicy": "ENABLED",
    "attributes": [{"name": name} for name in ("username", "email", "firstName", "lastName")],
}


def _user(name: str, entitlements: Sequence[str], password: str) -> dict[str, Any]:
    return {
        "username": name,
        "enabled": True,
        "email": f"{name}@example.org",
        "emailVerified": True,
        "firstName": name.title(),
        "lastName": "Example",
        "attributes": {"eduperson_entitlement": list(entitlements)},
        "credentials": [{"type": "password", "value": password, "temporary": False}],
        "realmRoles": ["offline_access", *([LEVEL] if name == "frank" else [])],
    }


def _client(name: str) -> dict[str, Any]:
    attributes = {"oauth2.device.authorization.grant.enabled": str(name == DEVICE).lower()}
    if name == SHORT:
        attributes["access.token.lifespan"] = str(SHORT_S)
    return {
        "clientId": name,
        "enabled": True,
        "publicClient": True,
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": True,
        "attributes": attributes,
        "protocolMappers": [
            {
                "name": "entitlements",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-usermodel-attribute-mapper",
                "config": {
                    "user.attribute": "eduperson_entitlement",
                    "claim.name": "eduperson_entitlement",
                    "jsonType.label": "String",
                    "multivalued": "true",
                    "userinfo.token.claim": str(name != IN_TOKEN).lower(),
                    "id.token.claim": "false",
                    "access.token.claim": str(name in {IN_TOKEN, SHORT}).lower(),
                },
            }
        ],
    }
