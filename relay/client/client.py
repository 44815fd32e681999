"""The typed methods of the client, one for each call of the API that the command line needs.

Ids are integers, filters are pairs as they stand in a query string (contract §3), answers are `relay.client.types`.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import uuid4

from relay.client import follow
from relay.client.resolve import Endpoint
from relay.client.transport import FIRST_PATIENCE_S, PATIENCE_S, SILENCE_S, Call, Transport
from relay.client.types import TERMINAL, Filters, Job, Record, Stats, Stream, Tree, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

_LONGEST_WAIT_S = 30.0
_PAGE = 1000


class Client:
    """A client of one API; an async context manager. `first_patience_s`: how long to try before the first answer."""

    def __init__(
        self,
        api: str,
        token: str | None = None,
        *,
        first_patience_s: float = FIRST_PATIENCE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        endpoint = Endpoint(api.rstrip("/"), token)
        self._transport = Transport(endpoint, first_patience_s=first_patience_s, patience_s=patience_s)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._transport.__aexit__(*args)

    async def submit(self, spec: Mapping[str, object]) -> Job:
        """Submit one job. Repeating it after a lost answer gives the same job, with or without a key in the spec."""
        headers = {} if "idempotency_key" in spec else {"Idempotency-Key": _fresh_key()}
        call = Call("POST", "/v1/jobs", body=_encoded(spec), headers=headers, is_repeatable=True)
        return cast("Job", await self._transport.json(call))

    async def submit_batch(self, specs: Sequence[object]) -> list[int]:
        """Submit up to 10,000 jobs, all or none; their ids are in order. Repeatable like `submit`."""
        headers = {"Idempotency-Key": _fresh_key()}
        call = Call("POST", "/v1/jobs/batch", body=_encoded(specs), headers=headers, is_repeatable=True)
        answer = await self._transport.json(call)
        return cast("list[int]", answer["ids"])

    async def job(self, job_id: int, *, wait_s: float = 0.0) -> Job:
        """One job and its attempts; with `wait_s`, once it is terminal, or after that time (at most 30 s at once)."""
        wait_s = min(wait_s, _LONGEST_WAIT_S)
        params = [("wait", f"{int(wait_s * 1000)}ms")] if wait_s >= 0.001 else []
        return cast("Job", await self._get(f"/v1/jobs/{job_id}", params, silence_s=wait_s + SILENCE_S))

    async def wait_until_terminal(self, job_id: int, *, timeout_s: float | None = None) -> Job:
        """The job once it is terminal, or as it is when `timeout_s` is over."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = _LONGEST_WAIT_S if deadline is None else deadline - time.monotonic()
            job = await self.job(job_id, wait_s=max(left_s, 0.0))
            if job["status"] in TERMINAL or (deadline is not None and time.monotonic() >= deadline):
                return job

    async def jobs(self, filters: Filters, *, limit: int | None) -> list[Job]:
        """Jobs that match, newest first; None: all of them."""
        return cast("list[Job]", await self._pages("/v1/jobs", filters, limit=limit))

    async def why(self, job_id: int) -> dict[str, object]:
        """Why the job is where it is: `reason`, one sentence, and facts."""
        return cast("dict[str, object]", await self._get(f"/v1/jobs/{job_id}/why"))

    async def tree(self, job_id: int) -> Tree:
        """The chain that the job belongs to, from its root."""
        return cast("Tree", await self._get(f"/v1/jobs/{job_id}/tree"))

    def follow(
        self,
        job_id: int,
        *,
        attempt: int | None = None,
        stream: Stream | None = None,
        after: tuple[int, int] | None = None,
    ) -> AsyncIterator[Record]:
        """Output as it comes, until the job (or the `attempt`) has ended.

        `after`: from after that record (attempt, seq), and `(0, 0)` from the beginning; None: from the last attempt on.
        """
        params = [*_log_params(attempt, stream), ("follow", "true")]
        return follow.records(self._transport, _logs(job_id), params=params, after=after)

    def output(
        self,
        job_id: int,
        *,
        attempt: int | None = None,
        stream: Stream | None = None,
        tail_bytes: int | None = None,
    ) -> AsyncIterator[Record]:
        """Output recorded up to now, of the last attempt by default; with `tail_bytes` only its end."""
        tail = [] if tail_bytes is None else [("tail", str(tail_bytes))]
        params = [*_log_params(attempt, stream), *tail]
        return follow.records(self._transport, _logs(job_id), params=params, after=None)

    async def retry(self, job_id: int) -> Job:
        """Make a DEAD, FAILED or CANCELLED job PENDING with fresh retries."""
        return cast("Job", await self._post(f"/v1/jobs/{job_id}/retry"))

    async def cancel(self, job_id: int) -> Job:
        """Ask for the job's end; it is CANCELLED once its processes are gone."""
        return cast("Job", await self._post(f"/v1/jobs/{job_id}/cancel", is_repeatable=True))

    async def delete(self, job_id: int) -> None:
        """Delete a terminal job with its attempts and output."""
        await self._transport.json(Call("DELETE", f"/v1/jobs/{job_id}"))

    async def dead_letters(self, filters: Filters, *, limit: int | None) -> list[Job]:
        """DEAD jobs that match, newest first."""
        return cast("list[Job]", await self._pages("/v1/dead-letters", filters, limit=limit))

    async def change_dead_letters(self, action: str, filters: Mapping[str, object], *, dry_run: bool) -> int:
        """`retry` or `purge` all DEAD jobs that match; how many those are (in a dry run: would be)."""
        answer = await self._post(f"/v1/dead-letters/{action}", {**filters, "dry_run": dry_run})
        return cast("int", answer["count"])

    async def workers(self) -> list[Worker]:
        """All workers that are known."""
        return cast("list[Worker]", await self._pages("/v1/workers", [], limit=None))

    async def drain(self, worker_id: int) -> Worker | None:
        """Ask a worker to stop claiming and to end when its jobs have."""
        return cast("Worker | None", await self._post(f"/v1/workers/{worker_id}/drain", is_repeatable=True))

    async def stats(self) -> Stats:
        """Counts by state and queue, oldest pending age, rates."""
        return cast("Stats", await self._get("/v1/stats"))

    async def _get(self, path: str, params: Filters | None = None, *, silence_s: float = SILENCE_S) -> Any:
        return await self._transport.json(
            Call("GET", path, params=params or [], is_repeatable=True, silence_s=silence_s)
        )

    async def _post(self, path: str, value: object = None, *, is_repeatable: bool = False) -> Any:
        body = None if value is None else _encoded(value)
        return await self._transport.json(Call("POST", path, body=body, is_repeatable=is_repeatable))

    async def _pages(self, path: str, filters: Filters, *, limit: int | None) -> list[Any]:
        """Read pages until `limit` items are there, or all."""
        items: list[Any] = []
        cursor: str | None = None
        while limit is None or len(items) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(items))
            page = await self._get(path, [*filters, ("limit", str(size)), *([("cursor", cursor)] if cursor else [])])
            items += page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return items


def _logs(job_id: int) -> str:
    return f"/v1/jobs/{job_id}/logs"


def _log_params(attempt: int | None, stream: Stream | None) -> Filters:
    named = [("attempt", None if attempt is None else str(attempt)), ("stream", stream)]
    return [(name, value) for name, value in named if value is not None]


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _fresh_key() -> str:
    return f"cli-{uuid4()}"
