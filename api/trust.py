"""From the site's settings to who is let in: the wiring of OIDC authentication."""

from collections.abc import Iterable, Mapping, Sequence

from api.auth import AuthFault, Role
from api.auth.code_flow import CodeLogin
from api.auth.https import getter, poster, trust
from api.auth.membership import EntitlementRule, Person, RealmRoleRule, Rules
from api.auth.oidc import OidcAuthenticator
from api.auth.provider import Provider
from api.auth.second_opinion import refuse_unsafe_flaat
from reconciler.auth_sections import AuthSettings, PersonSettings
from specs.model import Owner


def oidc_authenticator(auth: AuthSettings, environ: Mapping[str, str]) -> OidcAuthenticator:
    """Return who may come in with the tokens of the providers in `auth`; asks nobody yet.

    Raises: AuthFault.
    """
    refuse_unsafe_flaat()
    if not auth.OP:
        raise AuthFault(
            "AI4PAPI_AUTH=oidc, and auth.OP in main_conf.yaml names no issuer: name one, or set"
            " AI4PAPI_AUTH=local to use this machine's one local user"
        )
    get = getter(trust(environ))
    providers = [Provider(issuer, get) for issuer in auth.OP]
    return OidcAuthenticator(providers, rules_of(auth), audiences=auth.audience or ())


def browser_logins(auth: AuthSettings, environ: Mapping[str, str]) -> Sequence[CodeLogin]:
    """Return how people log in through a browser, by provider; none without a client of the site's.

    Asks nobody yet. Raises: AuthFault.
    """
    if auth.client_id is None:
        return ()
    trusted = trust(environ)
    return [
        CodeLogin(
            Provider(issuer, getter(trusted)),
            poster(trusted),
            client_id=auth.client_id,
            scopes=auth.scopes,
        )
        for issuer in auth.OP
    ]


def rules_of(auth: AuthSettings) -> Rules:
    """Return who has which role, as the settings say it."""
    more = {
        Role.OPERATOR: auth.roles.operator,
        Role.EDITOR: auth.roles.editor,
        Role.AUDITOR: auth.roles.auditor,
    }
    words = [
        (role, name) for role, names in more.items() for name in names if isinstance(name, str)
    ]
    named = auth.entitlements
    return Rules(
        vos=auth.VO,
        entitlements=EntitlementRule(
            claim=named.claim,
            namespace=named.namespace,
            authorities=frozenset(named.authorities),
            roles=_by_word([*((Role.USER, name) for name in named.roles), *words]),
            from_token=named.from_token,
        ),
        realm_roles=None
        if auth.realm_roles.claim is None
        else RealmRoleRule(
            claim=auth.realm_roles.claim,
            levels=_by_word([*((Role.USER, name) for name in auth.realm_roles.levels), *words]),
        ),
        people=tuple(
            Person(Owner(who.iss, who.sub), role, who.vo)
            for role, names in more.items()
            for who in names
            if isinstance(who, PersonSettings)
        ),
    )


def _by_word(pairs: Iterable[tuple[Role, str]]) -> dict[str, frozenset[Role]]:
    roles: dict[str, frozenset[Role]] = {}
    for role, word in pairs:
        roles[word] = roles.get(word, frozenset()) | {role}
    return roles
