"""The proxy before PostgreSQL: it reads along, and can lose the answer to one COMMIT.

`lose_commit("Record attempts' results")` waits for a statement with that text (Relay's statements carry their header comments on the
wire), lets its transaction be committed, and drops the answer together with the connection. A statement on its own is its own
transaction; within an explicit one it is the answer to COMMIT that is lost. So the client can't know, and the row is there.

Framing is that of PostgreSQL's protocol 3.0: a type byte and a length, but for what comes before the startup message.
"""

from __future__ import annotations

import struct

from relay.dev import ports
from tests.chaos import proxy

_SSL_REQUESTS = frozenset({80877103, 80877104})
_IDLE = b"I"


class CommitProxy(proxy.Proxy):
    """A proxy before PostgreSQL. `lost` names the commits whose answers were dropped."""

    def __init__(self, target_port: int, *, host: str = ports.HOST) -> None:
        super().__init__(target_port, host=host)
        self.lost: list[str] = []
        self._wanted: list[bytes] = []

    def lose_commit(self, text: str) -> None:
        """Drop the answer to the next commit of a statement that contains this text."""
        self._wanted.append(text.encode())

    def session(self) -> proxy.Session:
        return _Session(self)

    def match(self, query: bytes) -> bytes | None:
        """The wanted text that this statement contains."""
        return next((text for text in self._wanted if text in query), None)

    def take(self, text: bytes) -> bool:
        """Note that this commit's answer is lost now; False: another connection was faster."""
        if text not in self._wanted:
            return False
        self._wanted.remove(text)
        self.lost.append(text.decode())
        return True


class _Session(proxy.Session):
    def __init__(self, owner: CommitProxy) -> None:
        self._owner = owner
        self._up = b""
        self._down = b""
        self._is_started = False
        self._ssl_answers = 0
        self._statements: dict[bytes, bytes] = {}
        self._pending: bytes | None = None  # the text whose commit is awaited

    def up(self, data: bytes) -> None:
        self._up += data
        while not self._is_started and len(self._up) >= 8:
            length, code = struct.unpack("!II", self._up[:8])
            if len(self._up) < length:
                return
            self._is_started = code not in _SSL_REQUESTS
            self._ssl_answers += not self._is_started
            self._up = self._up[length:]
        while self._is_started and len(self._up) >= 5:
            length = 1 + int(struct.unpack("!I", self._up[1:5])[0])
            if len(self._up) < length:
                return
            self._hear(self._up[:1], self._up[5:length])
            self._up = self._up[length:]

    def down(self, data: bytes) -> bool:
        if self._ssl_answers:  # one byte, 'N': these servers speak no TLS
            self._ssl_answers -= 1
            data = data[1:]
        self._down += data
        while len(self._down) >= 5:
            length = 1 + int(struct.unpack("!I", self._down[1:5])[0])
            if len(self._down) < length:
                break
            kind, body, self._down = self._down[:1], self._down[5:length], self._down[length:]
            if kind == b"Z" and body == _IDLE and self._pending is not None:
                text, self._pending = self._pending, None
                if self._owner.take(text):
                    return True
        return False

    def _hear(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, query, _ = body.split(b"\0", 2)
            self._statements[name] = query
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            self._pending = self._pending or self._owner.match(self._statements.get(name, b""))
