"""An oidc-agent on a Unix socket that speaks as the real one does: NaCl boxes around JSON."""

import base64
import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacl.encoding import Base64Encoder
from nacl.public import Box, PrivateKey, PublicKey


@dataclass
class Agent:
    path: str
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def agent_for(tokens: Mapping[str, str], folder: Path) -> Iterator[Agent]:
    """Serve these tokens, by account or by issuer."""
    agent = Agent(str(folder / "agent.sock"))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            mine = PrivateKey.generate()
            theirs = PublicKey(base64.b64decode(self.request.recv(4096)))
            self.request.sendall(mine.public_key.encode(Base64Encoder))
            box = Box(mine, theirs)
            _, nonce, cipher = self.request.recv(65536).decode().split(":")
            asked = json.loads(box.decrypt(base64.b64decode(cipher), base64.b64decode(nonce)))
            agent.asked.append(asked)
            text = json.dumps(answer_to(asked))
            sealed = box.encrypt(text.encode(), encoder=Base64Encoder)
            self.request.sendall(b"%d:%b:%b" % (len(text), sealed.nonce, sealed.ciphertext))

    def answer_to(asked: Mapping[str, str]) -> dict[str, Any]:
        token = tokens.get(asked.get("account") or asked["issuer"])
        if token is None:
            return {"status": "failure", "error": "No account configured with that short name"}
        return {"access_token": token, "issuer": "https://op.example", "expires_at": 4e9}

    with socketserver.ThreadingUnixStreamServer(agent.path, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield agent
        finally:
            server.shutdown()
            thread.join()
