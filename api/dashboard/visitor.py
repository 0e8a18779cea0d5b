"""Who looks at a page, and whether what they send was meant by them.

A page's user is the one that the session's access token belongs to, asked through the same door as
every call of the API. What changes something must come from a page of ours: the browser says so
(`Sec-Fetch-Site`, else `Origin`), and the form carries the session's proof.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, cast
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, Query, Request

from api.auth import NotAuthenticated, User
from api.dashboard.session import Sessions
from api.problems import UnsupportedMedia
from api.routers.requests import authenticated, owner_of
from specs.faults import Fault, Forbidden, InvalidSpec
from specs.model import Deployment

MAX_FIELDS: Final = 200

HOME: Final = "/"

_FORM: Final = re.compile(r"application/x-www-form-urlencoded(\s*;.*)?", re.IGNORECASE)
_PATH: Final = re.compile(r"/[A-Za-z0-9._~%/?&=@:+,*!$'()#-]*", re.ASCII)

Form = Mapping[str, str]
"""The fields of a form that was sent; the last of a name counts."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is logged in. `owner` is whose deployments the address names, "" their own."""

    user: User
    owner: str
    proof: str = field(repr=False)
    may_see_all: bool = False

    @property
    def reader(self) -> User:
        """Who looks at the deployments that the address names. Raises: Forbidden."""
        if not self.owner:
            return self.user
        return self.user.looking_at(owner_of(self.owner, self.user))

    @property
    def writer(self) -> User:
        """Who changes the deployments that the address names. Raises: Forbidden."""
        if not self.owner:
            return self.user
        return self.user.acting_for(owner_of(self.owner, self.user))


def sessions_of(request: Request) -> Sessions:
    """Return what seals and opens the sessions of browsers."""
    return cast("Sessions", request.app.state.sessions)


async def _visitor(request: Request, owner: Annotated[str, Query(max_length=512)] = "") -> Visitor:
    session = sessions_of(request).read(request)
    if session is None:
        raise NotAuthenticated("this browser is not logged in")
    user = await authenticated(request, session.token)
    return Visitor(user, owner, session.proof, may_see_all=sees_all(user))


def sees_all(user: User) -> bool:
    """Whether there is a VO in which the user sees everybody's deployments."""
    try:
        user.everybody()
    except Forbidden:
        return False
    return True


async def read_form(request: Request) -> Form:
    """Return the form that a page of ours sent.

    Raises: Forbidden; UnsupportedMedia; InvalidSpec.
    """
    refuse_foreign(request)
    if not _FORM.fullmatch(request.headers.get("content-type", "")):
        raise UnsupportedMedia("this address takes a form")
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        fault = Fault("", "WrongType", "the form can't be read", "a form in UTF-8")
        raise InvalidSpec([fault]) from error
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


async def _proven_form(request: Request, visitor: Annotated[Visitor, Depends(_visitor)]) -> Form:
    form = await read_form(request)
    if not hmac.compare_digest(form.get("proof", "").encode(), visitor.proof.encode()):
        raise Forbidden("the form is not of this session: load the page again, then send it")
    return form


def refuse_foreign(request: Request) -> None:
    """Refuse what another site's page had a browser send. Raises: Forbidden."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    elif origin is not None:
        ours = origin == f"{request.url.scheme}://{request.url.netloc}"
    else:
        ours = True
    if not ours:
        raise Forbidden("the request comes from another site's page")


def local_path(text: str) -> str:
    """Return the path of this server that `text` names, or the first page's where it names none.

    What a browser might read as another host (`//host`, `/\\host`, a scheme) is no path.
    """
    parts = urlsplit(text)
    plain = _PATH.fullmatch(text) is not None and not parts.scheme and not parts.netloc
    return text if plain and not text.startswith("//") and len(text) <= 2000 else HOME


def path_to(deployment: Deployment, visitor: Visitor, *more: str) -> str:
    """Return the path of a deployment's page, or of what is beneath it."""
    path = "/".join(["/ui/d", quote(deployment.vo, safe=""), deployment.name, *more])
    if deployment.owner == visitor.user.owner:
        return path
    return f"{path}?owner={quote(f'{deployment.owner.iss}#{deployment.owner.sub}', safe='')}"


Seen = Annotated[Visitor, Depends(_visitor)]
Sent = Annotated[Form, Depends(_proven_form)]
