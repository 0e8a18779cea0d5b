"""Lists in pages, as Nomad cuts them: in a fixed order, each naming where the next begins."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.cluster.simulator.filters import parse_filter
from reconciler.cluster.simulator.refusal import Refusal

Item = Mapping[str, Any]


class Order(NamedTuple):
    """How a list is sorted: the key of an item, and that key in and out of a page token."""

    key: Callable[[Item], Any]
    token: Callable[[Any], str]
    parse: Callable[[str], Any]


BY_NAME = Order(
    key=lambda item: (item["Namespace"], item["ID"]),
    token=".".join,
    parse=lambda token: tuple(token.partition(".")[::2]),
)
"""By namespace and id: jobs."""

BY_AGE = Order(
    key=lambda item: (item["CreateIndex"], item["ID"]),
    token=lambda key: f"{key[0]}.{key[1]}",
    parse=lambda token: (int(token.partition(".")[0]), token.partition(".")[2]),
)
"""By index of creation, then id: allocations, evaluations, rollouts."""

BY_ID = Order(key=lambda item: item["ID"], token=str, parse=str)
"""By id: nodes."""


class Page(NamedTuple):
    """One page, and the token of the next; "" after the last."""

    items: Sequence[Any]
    next_token: str


def cut(items: Sequence[Any], query: Mapping[str, str], order: Order) -> Page:
    """Return the page asked for by `filter`, `prefix`, `per_page`, `next_token` and `reverse`.

    Raises `Refusal` 400 where the query makes no sense, 500 where a filter is not simulated.
    """
    passes = parse_filter(query["filter"]) if query.get("filter") else None
    prefix = query.get("prefix", "")
    backwards = query.get("reverse") == "true"
    chosen = sorted(
        (
            item
            for item in items
            if item["ID"].startswith(prefix) and (passes is None or passes(item))
        ),
        key=order.key,
        reverse=backwards,
    )
    start = _start(query.get("next_token", ""), order)
    if start is not None:
        chosen = [
            item
            for item in chosen
            if (order.key(item) <= start if backwards else order.key(item) >= start)
        ]
    size = _size(query.get("per_page", ""))
    if not size or len(chosen) <= size:
        return Page(chosen, "")
    return Page(chosen[:size], order.token(order.key(chosen[size])))


def _start(token: str, order: Order) -> Any:
    if not token:
        return None
    try:
        return order.parse(token)
    except ValueError as error:
        raise Refusal(400, f"invalid next_token {token!r}") from error


def _size(text: str) -> int:
    if not text:
        return 0
    try:
        size = int(text)
    except ValueError:
        size = -1
    if size < 0:
        raise Refusal(400, "Expect a number for `per_page` query string parameter")
    return size
