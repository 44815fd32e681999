"""The HTTP client: everything that the API does, as typed asynchronous methods.

    async with Client("http://127.0.0.1:4000", token) as client:
        job = await client.submit({"payload": {"command": "/bin/true"}})
        job = await client.wait_until_terminal(job["id"])

It survives a restart of the API: connection errors, 429 and 503 are tried again with growing pauses (or the server's
`Retry-After`) as long as its patience lasts, and only where a repetition can't do harm; a submit carries an idempotency key
of its own for that. Output that is followed resumes after a cut without a gap or a repetition. Errors are `relay.errors`.
"""

from relay.client.client import Client
from relay.client.resolve import Endpoint, resolve

__all__ = ["Client", "Endpoint", "resolve"]
