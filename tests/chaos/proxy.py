"""A TCP proxy that misbehaves on request: between Relay and each store stands one of these.

It passes bytes until told otherwise. A black hole holds bytes back and lets them go on once healed, as TCP does over a network that
drops packets; one way is one direction only. Refusing closes the listening socket, resetting answers with RST; both also end
what is connected. A change of mode takes effect at once, for connections that exist and for new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import Enum, auto
from typing import TYPE_CHECKING

from relay.dev import ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNK = 1 << 16
_LINGER_0 = struct.pack("ii", 1, 0)


class Mode(Enum):
    """What happens to bytes; UP is from the client to the server, DOWN the other way."""

    PASS = auto()
    REFUSE = auto()
    RESET = auto()
    HOLD = auto()
    HOLD_UP = auto()
    HOLD_DOWN = auto()


_HELD = {"up": frozenset({Mode.HOLD, Mode.HOLD_UP}), "down": frozenset({Mode.HOLD, Mode.HOLD_DOWN})}


class Session:
    """One proxied connection, as a protocol sees it. A subclass may read along, and cut the connection."""

    def up(self, data: bytes) -> None:
        """Bytes from the client are about to be passed on."""

    def down(self, data: bytes) -> bool:
        """Bytes from the server have come. True: drop them and cut the connection."""
        del data
        return False


class Proxy:
    """One listening port in front of one server. Use as `async with Proxy(port) as proxy`."""

    def __init__(self, target_port: int, *, host: str = ports.HOST) -> None:
        self.host = host
        self.port = ports.free_port()
        self.mode = Mode.PASS
        self.delay_s = 0.0
        self.cut_after: int | None = None  # bytes, of both directions together; then the connection is reset
        self.cuts = 0
        self.target_port = target_port
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)

    async def stop(self) -> None:
        """Stop listening and end all connections."""
        await self._close()
        self.end_connections()

    async def set(self, mode: Mode) -> None:
        """Change the mode."""
        was, self.mode = self.mode, mode
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if mode is Mode.REFUSE:
            await self._close()
        elif was is Mode.REFUSE:
            await self.start()
        if mode in {Mode.REFUSE, Mode.RESET}:
            self.end_connections()

    async def heal(self) -> None:
        """Pass everything again."""
        self.delay_s, self.cut_after = 0.0, None
        await self.set(Mode.PASS)

    @contextlib.asynccontextmanager
    async def as_(self, mode: Mode) -> AsyncIterator[None]:
        """Have a mode for the length of a block."""
        await self.set(mode)
        try:
            yield
        finally:
            await self.heal()

    def end_connections(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            _reset(writer)

    def session(self) -> Session:
        """Make what reads along a new connection."""
        return Session()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._passable("up", "down")
            if self.mode is Mode.RESET:
                return
            up_reader, up_writer = await asyncio.open_connection(ports.HOST, self.target_port)
            self._writers.add(up_writer)
            try:
                await self._join(reader, writer, up_reader, up_writer)
            finally:
                self._writers.discard(up_writer)
                _reset(up_writer)
        except OSError:
            return
        finally:
            self._writers.discard(writer)
            _reset(writer)

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        """Pump both ways until one side ends."""
        session = self.session()
        pumps = (self._pump("up", reader, up_writer, session), self._pump("down", up_reader, writer, session))
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(pump) for pump in pumps]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                task.cancel()

    async def _pump(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._passable(way)
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self._is_cut(way, data, session):
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    def _is_cut(self, way: str, data: bytes, session: Session) -> bool:
        if self.cut_after is not None:
            self.cut_after -= len(data)
            if self.cut_after < 0:
                self.cut_after = None
                return True
        if way == "up":
            session.up(data)
            return False
        return session.down(data)

    async def _passable(self, *ways: str) -> None:
        while any(self.mode in _HELD[way] for way in ways):
            await self._changed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a host does that knows nothing of the connection."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    writer.transport.abort()
