"""Reads a task's log from Nomad's answer: JSON frames, one behind the other, with text in base64.

Nomad names the files of a log by number and goes over to the next by itself, so that who reads the
frames need not know of rotation. An empty frame is its heartbeat, once a second while it follows.
"""

import base64
import binascii
import json
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, Final

import requests
import urllib3
from urllib3.exceptions import HTTPError

from reconciler.errors import ClusterUnavailable

SILENCE_S: Final = 15.0
"""An answer that brings neither text nor a heartbeat for so long is a dead connection."""

CHUNK_BYTES: Final = 1 << 16
FRAME_CHARS_MAX: Final = 1 << 20
"""A frame carries 64 KB of text: what grows beyond is not Nomad's."""

_DECODER: Final = json.JSONDecoder()


def read_frames(response: requests.Response, stop: threading.Event) -> Generator[bytes, None, None]:
    """Yield the text of an open answer as it comes, and b"" at each heartbeat.

    Ends with the answer, or at the next frame once `stop` is set; the answer is closed with it.

    Raises: ClusterUnavailable where it breaks or says what Nomad never says.
    """
    with closing(response):
        try:
            for frame in _frames(response.raw):
                if stop.is_set():
                    return
                yield base64.b64decode(frame.get("Data") or "", validate=True)
        except (HTTPError, OSError) as error:
            raise ClusterUnavailable(f"the log broke off: {error}") from error
        except (binascii.Error, ValueError, TypeError, AttributeError) as error:
            raise ClusterUnavailable("the log came in something that is no frame") from error


def _frames(raw: urllib3.BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    pending = ""
    while chunk := raw.read1(CHUNK_BYTES, decode_content=True):
        pending += chunk.decode("ascii")
        while pending.strip():
            pending = pending.lstrip()
            try:
                frame, end = _DECODER.raw_decode(pending)
            except json.JSONDecodeError:
                if len(pending) > FRAME_CHARS_MAX:
                    raise
                break
            pending = pending[end:]
            yield frame
    if pending.strip():
        raise ClusterUnavailable("the log ended in the middle of a frame")
