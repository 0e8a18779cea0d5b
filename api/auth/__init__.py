"""Who is asking: from a bearer token to a `User` with roles in VOs."""

from api.auth.local import LOCAL_OWNER, LocalAuthenticator, local_token, local_token_file
from api.auth.users import (
    CHANGES_ALL,
    SEES_ALL,
    Authenticator,
    AuthFault,
    InvalidToken,
    NoMembership,
    NotAuthenticated,
    ProviderUnavailable,
    Role,
    User,
    bearer_token,
)

__all__ = [
    "CHANGES_ALL",
    "LOCAL_OWNER",
    "SEES_ALL",
    "AuthFault",
    "Authenticator",
    "InvalidToken",
    "LocalAuthenticator",
    "NoMembership",
    "NotAuthenticated",
    "ProviderUnavailable",
    "Role",
    "User",
    "bearer_token",
    "local_token",
    "local_token_file",
]
