"""POSTs that are sent for every deployment: prepared once for their place, then sent at the cost of
the wire.

`requests` prepares each request anew, which costs more than all else of a register
(docs/decisions/0014). Here it does so once; what is sent goes over the same pool of connections,
under the same bounds and to the same words where it fails.
"""

import json
from io import BytesIO
from time import monotonic
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError

from reconciler.cluster.session import Heard, read_whole, require_leader, unheard
from reconciler.jobs import Json
from reconciler.logs import request_id

REFUSED: Final = 400
"""The lowest status of an answer that is none of what was asked for."""


class Refused(Exception):
    """Nomad refused a POST. `answer` says why."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(f"Nomad answered {answer.status_code}")
        self.answer = answer


class Posts:
    """The POSTs to one place of one Nomad. Safe to use from any thread.

    `like` is one of them without its body: its URL and its headers are those of all. The time-out
    is for the connection and for the answer, which count together from the request to its end.
    `heard` is told of each.
    """

    def __init__(
        self,
        like: requests.PreparedRequest,
        adapter: HTTPAdapter,
        *,
        verify: bool | str,
        cert: tuple[str, ...],
        timeout_s: tuple[float, float],
        heard: Heard = unheard,
    ) -> None:
        trust: dict[str, Any] = {"verify": verify, "cert": cert or None}
        self._like = like
        self._adapter = adapter
        self._pool: Any = adapter.get_connection_with_tls_context(like, **trust)
        cert_verify: Any = adapter.cert_verify
        cert_verify(self._pool, like.url, **trust)
        self._place = adapter.request_url(like, None)
        # The length that the model announces is that of no body.
        self._headers = {k: v for k, v in like.headers.items() if k.lower() != "content-length"}
        self._headers["Content-Type"] = "application/json"
        self._timeout_s = timeout_s
        self._heard = heard

    def send(self, body: Json) -> Json:
        """Send `body`, whatever became of those before it; return what was answered.

        Raises: Refused; requests.RequestException where no answer came, or not in time and bounds;
        ValueError where what came is no JSON.
        """
        text = json.dumps(body, allow_nan=False).encode()
        began_s, status = monotonic(), 0
        try:
            answer, raw = self._ask(text, until_s=began_s + sum(self._timeout_s))
            status = raw.status
        except (HTTPError, OSError) as error:
            if isinstance(error, requests.RequestException):
                raise
            raise requests.ConnectionError(error) from error
        finally:
            self._heard("POST", self._place, status, monotonic() - began_s)
        if raw.status >= REFUSED:
            raise Refused(self._response(raw, answer))
        answered: Json = json.loads(answer)
        return answered

    def _ask(self, text: bytes, *, until_s: float) -> tuple[bytes, BaseHTTPResponse]:
        connect_s, read_s = self._timeout_s
        made_for = request_id()
        named = {} if made_for is None else {"X-Request-ID": made_for}
        raw = self._pool.urlopen(
            "POST",
            self._place,
            body=text,
            headers=self._headers | named,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            retries=self._adapter.max_retries,
            timeout=Timeout(connect=connect_s, read=read_s),
        )
        try:
            require_leader(raw.headers)
            return read_whole(raw, until_s=until_s), raw
        except BaseException:
            # The pool is bounded: what is not given back is lost to everybody.
            raw.close()
            raw.release_conn()
            raise

    def _response(self, raw: BaseHTTPResponse, answer: bytes) -> requests.Response:
        response = self._adapter.build_response(self._like, raw)
        response.raw = BytesIO(answer)
        return response
