"""The identity provider as a program without a secret sees it.

OpenID Connect Discovery 1.0, the device grant (RFC 8628), renewal (RFC 6749 section 6) and
revocation (RFC 7009). https only, certificates checked as the server's are, no redirect followed.
"""

import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from api.cli.access import Server
from api.cli.client import connect, no_answer
from api.cli.failures import Code, CommandFailed, NoAnswer
from api.cli.logins import Login
from api.cli.tokens import expiry_of, instant, is_token

TIMEOUT_S: Final = 15.0
MAX_ANSWER: Final = 1_000_000
MAX_URL: Final = 2000
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
MAX_INTERVAL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider takes what; None: it does not offer that. `scopes` as it tells them."""

    issuer: str
    token_endpoint: str
    device_endpoint: str | None = None
    revocation_endpoint: str | None = None
    scopes: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person confirms (`user_code` at `address`), and what asks whether they did."""

    user_code: str
    address: str
    address_with_code: str | None
    device_code: str = field(repr=False)
    interval_s: float
    expires_in_s: float


def discover(issuer: str) -> Provider:
    """Read the provider's own description. Raises: CommandFailed."""
    url = https_url(issuer, "the issuer").rstrip("/") + "/.well-known/openid-configuration"
    status, told = _exchange(url, None)
    if status != 200 or told.get("issuer") != issuer:
        raise CommandFailed(
            Code.FAILED,
            f"{issuer} does not describe itself as an OpenID provider (status {status})",
            hint="Check the issuer; it is compared letter by letter.",
        )
    scopes = told.get("scopes_supported")
    return Provider(
        issuer,
        https_url(told.get("token_endpoint"), f"the token endpoint of {issuer}"),
        _optional(told, "device_authorization_endpoint", issuer),
        _optional(told, "revocation_endpoint", issuer),
        [s for s in scopes if isinstance(s, str)] if isinstance(scopes, list) else None,
    )


def https_url(url: object, name: str) -> str:
    """Return `url` where it is an https address without a user. Raises: CommandFailed."""
    try:
        parts = urlsplit(url) if isinstance(url, str) and len(url) <= MAX_URL else None
        port = parts and parts.port
    except ValueError:
        parts = None
    if (
        not isinstance(url, str)
        or parts is None
        or parts.scheme != "https"
        or not parts.hostname
        or "@" in parts.netloc
        or port == 0
        or not all("!" <= c <= "~" for c in url)
    ):
        raise CommandFailed(Code.FAILED, f"{name} is not an https address: {url!r:.200}")
    return url


def start_device(provider: Provider, client_id: str, scopes: Sequence[str]) -> DeviceCode:
    """Ask for a code that a person confirms in a browser. Raises: CommandFailed."""
    if provider.device_endpoint is None:
        raise CommandFailed(
            Code.FAILED,
            f"{provider.issuer} offers no login by device code",
            hint="Use an oidc-agent (--agent) or a token of yours (--token-file).",
        )
    form = {"client_id": client_id, "scope": " ".join(scopes)}
    status, told = _exchange(provider.device_endpoint, form)
    if told.get("error") == "invalid_scope" and provider.scopes is not None:
        # Some providers refuse a scope that they don't know, and some don't tell all they know.
        form["scope"] = " ".join(s for s in scopes if s in provider.scopes)
        status, told = _exchange(provider.device_endpoint, form)
    if status != 200:
        raise _refusal(provider, status, told)
    user_code, device_code = told.get("user_code"), told.get("device_code")
    whole = told.get("verification_uri_complete")
    if not isinstance(user_code, str) or not isinstance(device_code, str):
        raise CommandFailed(Code.FAILED, f"{provider.issuer} answered without a device code")
    address = f"the address for the code of {provider.issuer}"
    return DeviceCode(
        user_code[:100],
        https_url(told.get("verification_uri"), address),
        None if whole is None else https_url(whole, address),
        device_code,
        min(instant(told.get("interval")) or 5.0, MAX_INTERVAL_S),
        min(instant(told.get("expires_in")) or 600.0, 3600.0),
    )


def await_device(
    provider: Provider,
    client_id: str,
    code: DeviceCode,
    *,
    clock: Callable[[], float],
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> Login:
    """Ask at the provider's pace until the person confirmed; `clock` is monotonic, `now` Unix time.

    Raises: CommandFailed where they declined (NOT_ALLOWED) or the code ended (TIMED_OUT).
    """
    form = {"grant_type": DEVICE_GRANT, "device_code": code.device_code, "client_id": client_id}
    interval_s, until = code.interval_s, clock() + code.expires_in_s
    while clock() + interval_s < until:
        sleep(interval_s)
        try:
            status, told = _exchange(provider.token_endpoint, form)
        except NoAnswer:
            interval_s = min(2 * interval_s, MAX_INTERVAL_S)
            continue
        match told.get("error"):
            case "authorization_pending":
                pass
            case "slow_down":
                interval_s += 5
            case "expired_token":
                break
            case _:
                if status != 200:
                    raise _refusal(provider, status, told)
                return _login(provider, client_id, told, now())
    raise CommandFailed(
        Code.TIMED_OUT, "the code was not confirmed in time", next_command="ai4papi login"
    )


def renew(login: Login, *, now: Callable[[], float]) -> Login:
    """Get a new access token, and the refresh token that comes with it where one does.

    Raises: NoAnswer where the provider can't be asked, CommandFailed where the login has ended.
    """
    provider = discover(login.issuer)
    form = {
        "grant_type": "refresh_token",
        "refresh_token": login.refresh_token,
        "client_id": login.client_id,
    }
    status, told = _exchange(provider.token_endpoint, form)
    if status != 200:
        raise _refusal(provider, status, told)
    return _login(provider, login.client_id, {"refresh_token": login.refresh_token, **told}, now())


def revoke(login: Login) -> bool:
    """Tell the provider that the tokens are no more; False: it takes no such word.

    Raises: CommandFailed.
    """
    provider = discover(login.issuer)
    if provider.revocation_endpoint is None:
        return False
    for token in filter(None, (login.refresh_token, login.access_token)):
        form = {"token": token, "client_id": login.client_id}
        status, told = _exchange(provider.revocation_endpoint, form)
        # Ended already: 200. A provider need not revoke access tokens (RFC 7009, 2.1, 2.2.1).
        if status != 200 and told.get("error") != "unsupported_token_type":
            raise _refusal(provider, status, told)
    return True


def _login(provider: Provider, client_id: str, told: Mapping[str, Any], now: float) -> Login:
    access, refresh = told.get("access_token"), told.get("refresh_token", "")
    bearer = str(told.get("token_type", "")).lower() == "bearer"
    if not is_token(access) or not bearer or not (refresh == "" or is_token(refresh)):
        raise CommandFailed(Code.FAILED, f"{provider.issuer} answered without a bearer token")
    lives_s = instant(told.get("expires_in"))
    return Login(
        "provider",
        issuer=provider.issuer,
        client_id=client_id,
        access_token=str(access),
        refresh_token=str(refresh),
        expires_at=expiry_of(str(access)) if lives_s is None else now + lives_s,
    )


def _optional(told: Mapping[str, Any], key: str, issuer: str) -> str | None:
    url = told.get(key)
    return None if url is None else https_url(url, f"the {key} of {issuer}")


def _refusal(provider: Provider, status: int, told: Mapping[str, Any]) -> CommandFailed:
    if status == 429 or status >= 500:
        return NoAnswer(Code.FAILED, f"{provider.issuer} can't answer now (status {status})")
    word, more = (str(told.get(key, ""))[:200] for key in ("error", "error_description"))
    said = ": ".join(filter(None, (word or f"status {status}", more)))
    return CommandFailed(
        Code.NOT_ALLOWED, f"{provider.issuer} said no: {said}", next_command="ai4papi login"
    )


def _exchange(url: str, form: Mapping[str, str] | None) -> tuple[int, Mapping[str, Any]]:
    """Get, or post a form; return the status and the object in the answer, {} where none is."""
    parts = urlsplit(url)
    server = Server("https", str(parts.hostname), parts.port or 443)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "application/json"}
    raw = None
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        raw = urlencode(form).encode()
    connection = connect(server, TIMEOUT_S)
    try:
        connection.request("GET" if form is None else "POST", target, raw, headers)
        response = connection.getresponse()
        content = response.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise no_answer(error, server) from error
    finally:
        connection.close()
    if form is not None and response.status >= 500:
        raise NoAnswer(Code.FAILED, f"{server} can't answer now (status {response.status})")
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        told = None
    return response.status, told if isinstance(told, dict) else {}
