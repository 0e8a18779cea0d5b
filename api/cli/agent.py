"""Tokens from an oidc-agent, which keeps a person's logins for all their programs.

The library `liboidcagent` comes with flaat; it finds the agent by OIDC_SOCK.
"""

import os
from typing import Final

from api.cli.failures import Code, CommandFailed
from api.cli.tokens import instant, is_token

MIN_LIFE_S: Final = 120
"""How long a token from the agent is good for at least."""


def agent_is_here() -> bool:
    """Return whether this terminal has an agent."""
    return bool(os.environ.get("OIDC_SOCK"))


def ask_agent(issuer: str, account: str) -> tuple[str, float | None]:
    """Return a token of the agent's `account`, "": of any for `issuer`, and when it expires.

    Raises: CommandFailed where there is no agent, or it has no such account.
    """
    try:
        import liboidcagent  # noqa: PLC0415 - a tenth of a second
    except ImportError as error:
        message = "the library liboidcagent is not here, and without it no agent can be asked"
        raise CommandFailed(Code.FAILED, message, next_command="pip install flaat") from error
    ask, key = (
        (liboidcagent.get_token_response, account)
        if account
        else (liboidcagent.get_token_response_by_issuer_url, issuer)
    )
    try:
        token, _, expires_at = ask(key, MIN_LIFE_S, "ai4papi")
    except (liboidcagent.OidcAgentError, OSError, LookupError, TypeError, ValueError) as error:
        raise CommandFailed(
            Code.NOT_ALLOWED,
            f"the oidc-agent gives no token for {key}: {error!s:.300}",
            hint="Is the account loaded?",
            next_command=f"oidc-add {account or 'ACCOUNT'}",
        ) from error
    if not is_token(token):
        raise CommandFailed(Code.FAILED, f"the oidc-agent answered {key} with no token")
    return str(token), instant(expires_at)
