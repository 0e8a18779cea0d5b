"""How to log in here, as `GET /v1/auth/config` tells it (pure)."""

from typing import Literal

from pydantic import Field

from api.schemas import with_example
from specs.model import Shown


class LoginView(Shown):
    """Whose tokens are taken, and what a client asks for to get one."""

    model_config = with_example(
        {
            "mode": "oidc",
            "issuers": ["https://aai.egi.eu/auth/realms/egi"],
            "vos": ["vo.ai4eosc.eu", "vo.imagine-ai.eu"],
            "scopes": ["openid", "profile", "offline_access", "eduperson_entitlement"],
            "clientID": "ai4papi-cli",
        }
    )

    mode: Literal["oidc", "local"] = Field(
        description="local: one user, whose token is in a file on the server's machine"
    )
    issuers: tuple[str, ...] = Field(description="OIDC providers, exactly as in `iss`")
    vos: tuple[str, ...] = Field(description="virtual organizations that are served")
    scopes: tuple[str, ...] = Field(description="what to ask a provider for")
    client_id: str | None = Field(
        default=None,
        alias="clientID",
        description="public client for the device flow; absent: bring your own",
    )
