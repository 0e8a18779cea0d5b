"""The routes about the caller: who they are and how much they use."""

from fastapi import APIRouter, Request, Response

from api.account import Account, AccountView, QuotaView, account_view
from api.problems import documented
from api.routers.requests import Caller, Reader, answer, services_of

router = APIRouter(tags=["account"], responses=documented(401, 403))


@router.get(
    "/whoami",
    operation_id="whoAmI",
    summary="Read who you are",
    response_model=AccountView,
)
def who_am_i(user: Caller) -> Response:
    """Tell your identity as the server sees it, your VOs, and what you may do in each."""
    return answer(account_view(user))


@router.get(
    "/quota",
    operation_id="readQuota",
    summary="Read what you may use and what you do",
    response_model=QuotaView,
)
def read_quota(request: Request, user: Reader) -> Response:
    """Tell limits and use, of you and of your VOs.

    Counted is what is wished, until it can't run any more: suspended deployments count for nothing.
    """
    return answer(Account(services_of(request).store).quota(user))
