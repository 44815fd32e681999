"""The proxy does what it says: otherwise a fault that "Relay survived" may never have happened."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from relay.dev import ports
from tests.chaos.postgres_proxy import CommitProxy
from tests.chaos.proxy import Mode, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.chaos.stores import Stores

    Connect = Callable[[], Awaitable["Client"]]

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON_S = 0.3


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1024):
            writer.write(data)
    writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that echoes."""
    port = ports.free_port()
    server = await asyncio.start_server(_echo, ports.HOST, port)
    proxy = Proxy(port)
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, text: bytes) -> bytes | None:
        """What comes back: the echo, nothing at all (b""), or None while it is held back."""
        self.writer.write(text)
        try:
            async with asyncio.timeout(SOON_S):
                return await self.reader.read(1024)
        except TimeoutError:
            return None
        except OSError:
            return b""


@pytest_asyncio.fixture(loop_scope="session")
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    """Connect through the proxy; what is connected is closed after the test."""
    clients: list[Client] = []

    async def open_() -> Client:
        clients.append(Client(*await asyncio.open_connection(ports.HOST, proxy.port)))
        return clients[-1]

    yield open_
    for client in clients:
        client.writer.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


async def test_it_passes_bytes(connect: Connect) -> None:
    client = await connect()
    assert await client.say(b"a") == b"a"


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.HOLD_UP, Mode.HOLD_DOWN])
async def test_a_black_hole_holds_bytes_back_until_it_is_healed(proxy: Proxy, connect: Connect, mode: Mode) -> None:
    client = await connect()
    assert await client.say(b"a") == b"a"
    async with proxy.as_(mode):
        assert await client.say(b"b") is None
    assert await client.say(b"") == b"b"


async def test_a_new_connection_into_a_black_hole_is_held_too(proxy: Proxy, connect: Connect) -> None:
    async with proxy.as_(Mode.HOLD):
        client = await connect()
        assert await client.say(b"a") is None


async def test_a_refusing_proxy_ends_connections_and_takes_no_new_ones(proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    assert await client.say(b"a") == b"a"
    async with proxy.as_(Mode.REFUSE):
        assert await client.say(b"b") == b""
        with pytest.raises(ConnectionRefusedError):
            await connect()
    assert await (await connect()).say(b"c") == b"c"


async def test_a_resetting_proxy_ends_old_and_new_connections(proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    assert await client.say(b"a") == b"a"
    async with proxy.as_(Mode.RESET):
        assert await client.say(b"b") == b""
        assert await (await connect()).say(b"c") == b""


async def test_it_cuts_after_so_many_bytes_once(proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    proxy.cut_after = 5
    assert await client.say(b"ab") == b"ab"
    assert await client.say(b"cd") == b""
    assert proxy.cuts == 1
    assert await (await connect()).say(b"ef") == b"ef"


@pytest.mark.parametrize("is_explicit", [False, True])
async def test_a_lost_commit_is_committed_and_its_answer_never_comes(servers: Stores, is_explicit: bool) -> None:
    proxy = CommitProxy(servers.postgres.port)
    await proxy.start()
    dsn = await servers.new_database()
    direct, through = await asyncpg.connect(dsn), await asyncpg.connect(dsn, port=proxy.port)
    await direct.execute("CREATE TABLE seen (n integer)")
    proxy.lose_commit("count me")

    with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
        async with through.transaction() if is_explicit else contextlib.nullcontext():
            await through.execute("INSERT INTO seen VALUES ($1) -- count me", 1)

    assert await direct.fetchval("SELECT count(*) FROM seen") == 1
    assert proxy.lost == ["count me"]
    through.terminate()
    await direct.close()
    await proxy.stop()
