"""What one HTTP request asks, read as Nomad reads it; and what it is answered (pure)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.cluster.simulator.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `query` holds the last value of every parameter."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = b""

    @property
    def namespace(self) -> str:
        """The namespace that is asked about; "*" is all."""
        return self.query.get("namespace", "") or "default"

    def flag(self, name: str) -> bool:
        """Tell whether a parameter is set to true."""
        return self.query.get(name, "").lower() in {"true", "1"}

    def number(self, name: str, *, wrong: str) -> int | None:
        """Return a parameter that is a number, None where it is missing. Raises `Refusal` 400."""
        text = self.query.get(name, "")
        if not text:
            return None
        if not text.isascii() or not text.isdigit():
            raise Refusal(400, wrong)
        return int(text)

    def json(self) -> dict[str, Any]:
        """Return the body with its top names in lower case: Go does not tell cases apart."""
        if not self.body:
            raise Refusal(400, "Request body is empty")
        try:
            body = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "unexpected EOF") from error
        if not isinstance(body, dict):
            raise Refusal(400, "json: cannot unmarshal array into Go value of type api.Request")
        return {name.lower(): value for name, value in body.items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """A success. `index` goes into `X-Nomad-Index`; None where Nomad sends no such header."""

    body: Any = None
    index: int | None = None
    next_token: str = ""
    status: int = 200
