"""A load generator for single POSTs: plain sockets and prepared bytes, so that it costs less than what it measures."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit


async def post_rate(api: str, token: str, body: bytes, *, connections: int, seconds: float) -> float:
    """Submit single jobs over that many connections for that long; return accepted jobs a second."""
    address = urlsplit(api)
    assert address.hostname
    assert address.port
    request = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    began = time.perf_counter()
    until = began + seconds
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_connection(address.hostname, address.port, request, until)) for _ in range(connections)
        ]
    return sum(task.result() for task in running) / (time.perf_counter() - began)


async def _connection(host: str, port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    accepted = 0
    try:
        while time.perf_counter() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(f"not accepted: {head[:200]!r}")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            accepted += 1
    finally:
        writer.close()
        await writer.wait_closed()
    return accepted
