"""What the buttons of a deployment's page do, each by the use case that the API calls."""

from typing import Final

from fastapi import APIRouter, Request, Response

from api.dashboard.html import PageRoute, see_other
from api.dashboard.visitor import Form, Seen, Sent, Visitor, path_to
from api.routers.requests import deployments_of, history_of
from specs.faults import Fault, InvalidSpec
from specs.model import Deployment

TAKE_OVER: Final = "take_over"
"""Sent where a file declares the deployment, and somebody said that people shall."""

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/ui/d/{vo}/{name}/suspend")
def suspend(request: Request, visitor: Seen, form: Sent, vo: str, name: str) -> Response:
    """Stop the work and keep the spec."""
    return _patched(request, visitor, form, vo=vo, name=name, suspended=True)


@router.post("/ui/d/{vo}/{name}/resume")
def resume(request: Request, visitor: Seen, form: Sent, vo: str, name: str) -> Response:
    """Let the work run again."""
    return _patched(request, visitor, form, vo=vo, name=name, suspended=False)


@router.post("/ui/d/{vo}/{name}/restart")
def restart(request: Request, visitor: Seen, form: Sent, vo: str, name: str) -> Response:
    """Restart the running work once."""
    deployments, writer = deployments_of(request), visitor.writer
    count = deployments.find(writer, name, vo=vo).spec.restart + 1
    patch = {"spec": {"restart": count}}
    outcome = deployments.patch(writer, name, patch, vo=vo, take_over=_takes_over(form))
    return _back(outcome.deployment, visitor)


@router.post("/ui/d/{vo}/{name}/reconcile")
def look_now(request: Request, visitor: Seen, form: Sent, vo: str, name: str) -> Response:
    """Have the loop look at it now."""
    del form
    return _back(history_of(request).look_now(visitor.writer, name, vo=vo), visitor)


@router.post("/ui/d/{vo}/{name}/rollback")
def roll_back(request: Request, visitor: Seen, form: Sent, vo: str, name: str) -> Response:
    """Run an older generation."""
    text = form.get("generation", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidSpec([Fault("/generation", "WrongType", "choose a generation", "a number")])
    body = {"generation": int(text)}
    return _back(history_of(request).rollback(visitor.writer, name, body, vo=vo), visitor)


@router.post("/ui/d/{vo}/{name}/delete")
def delete(request: Request, visitor: Seen, form: Sent, vo: str, name: str) -> Response:
    """Ask for the end of a deployment."""
    outcome = deployments_of(request).delete(
        visitor.writer, name, vo=vo, take_over=_takes_over(form)
    )
    return _back(outcome.deployment, visitor)


@router.post("/ui/trash/{vo}/{name}/undelete")
def undelete(request: Request, visitor: Seen, form: Sent, vo: str, name: str) -> Response:
    """Take a deletion back."""
    del form
    return _back(history_of(request).undelete(visitor.writer, name, vo=vo), visitor)


def _patched(
    request: Request, visitor: Visitor, form: Form, *, vo: str, name: str, suspended: bool
) -> Response:
    patch = {"spec": {"suspend": suspended}}
    outcome = deployments_of(request).patch(
        visitor.writer, name, patch, vo=vo, take_over=_takes_over(form)
    )
    return _back(outcome.deployment, visitor)


def _takes_over(form: Form) -> bool:
    return form.get(TAKE_OVER) == "yes"


def _back(deployment: Deployment, visitor: Visitor) -> Response:
    return see_other(path_to(deployment, visitor))
