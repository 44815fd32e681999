"""Reading and steering jobs over HTTP: lists, waits, why, trees, retries, cancels, deletes, dead letters, workers, numbers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from relay.lease import CHANGED
from relay.store import workers
from tests.integration import seeding
from tests.integration.apis import TRUE, api, api_settings, store

if TYPE_CHECKING:
    from relay.store.connection import Connection
    from tests.integration.apis import ApiServer

__all__ = ["api", "api_settings", "store"]


async def register(store: Connection, *, queues: tuple[str, ...] = ("default",), slots: int = 1) -> int:
    """Have a worker listen."""
    worker = workers.NewWorker(
        host="h1", boot_id="b", pid_ns=1, pid=42, pid_start=1, version="1", queues=queues, slots=slots, lease_ttl_s=15.0
    )
    return await workers.register_worker(store, worker)


async def reason(api: ApiServer, job_id: int) -> str:
    answer = await api.get(f"/v1/jobs/{job_id}/why")
    assert answer.status == 200
    return str(answer.json["reason"])


async def test_a_list_goes_page_by_page_newest_first(api: ApiServer) -> None:
    ids = [await api.submit() for _ in range(5)]
    first = (await api.get("/v1/jobs?limit=3")).json
    second = (await api.get(f"/v1/jobs?limit=3&cursor={first['next_cursor']}")).json
    assert [job["id"] for job in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


async def test_filters_narrow_a_list(api: ApiServer, store: Connection) -> None:
    mail = await api.submit(queue="mail", name="post", labels={"team": "data", "url": "a:b"})
    plain = await api.submit()
    done = await api.submit(queue="mail")
    await seeding.run(store, done, "COMPLETED")

    async def ids(query: str) -> list[int]:
        return [job["id"] for job in (await api.get(f"/v1/jobs?{query}")).json["items"]]

    assert await ids("queue=mail") == [done, mail]
    assert await ids("queue=mail&queue=default&status=pending") == [plain, mail]
    assert await ids("status=completed&status=DEAD") == [done]
    assert await ids("label=team:data&label=url:a:b") == [mail]
    assert await ids("name=post") == [mail]
    assert await ids("worker=7") == [done]
    assert await ids("created_after=2100-01-01T00:00:00Z") == []
    assert await ids("created_before=2100-01-01T00:00:00%2B02:00") == [done, plain, mail]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=1000000000", "limit=x", "limit=1&limit=2", "cursor=abc", "cursor=",
        "cursor=AAAAAAAAAAAAAAAAAAAAAA", "stauts=DEAD", "status=BROKEN", "label=x", "queue=UP", "parent_id=0",
        "created_after=2020-01-01", "name=%ff", "name=a%00b", "worker=1e3",
    ],
)  # fmt: skip
async def test_a_bad_query_is_refused(api: ApiServer, query: str) -> None:
    answer = await api.get(f"/v1/jobs?{query}")
    assert (answer.status, answer.code) == (400, "bad_query")


@pytest.mark.parametrize("job_id", ["1", "0", "x", "-1", "1.0", "%31x", "9" * 19, "9" * 400, "\u0661"])
@pytest.mark.parametrize("suffix", ["", "/why", "/tree", "/logs"])
async def test_an_unknown_id_is_not_found(api: ApiServer, job_id: str, suffix: str) -> None:
    answer = await api.get(f"/v1/jobs/{job_id}{suffix}")
    assert (answer.status, answer.code) == (404, "not_found")


async def test_a_wait_ends_when_the_job_does(api: ApiServer, store: Connection) -> None:
    job_id = await api.submit()
    waiting = asyncio.create_task(api.get(f"/v1/jobs/{job_id}?wait=30s"))
    await seeding.run(store, job_id, "COMPLETED")
    began = time.monotonic()
    await api.parts.leases.publish_wake(CHANGED, [job_id])
    answer = await waiting
    assert answer.json["status"] == "COMPLETED"
    assert answer.json["attempts"][0]["outcome"] == "succeeded"
    assert time.monotonic() - began < 5


async def test_a_wait_needs_no_wake_up(api: ApiServer, store: Connection) -> None:
    job_ids = [await api.submit() for _ in range(3)]
    waiting = [asyncio.create_task(api.get(f"/v1/jobs/{job_id}?wait=30s")) for job_id in job_ids]
    for job_id in job_ids:
        await seeding.run(store, job_id, "DEAD", exit_code=3)
    assert [(await one).json["reason"] for one in waiting] == ["exit"] * 3


async def test_a_wait_answers_when_its_time_is_up(api: ApiServer) -> None:
    job_id = await api.submit()
    assert (await api.get(f"/v1/jobs/{job_id}?wait=50ms")).json["status"] == "PENDING"
    assert (await api.get("/v1/jobs/99?wait=30s")).status == 404
    assert (await api.get(f"/v1/jobs/{job_id}?wait=2h")).code == "bad_query"


async def test_why_a_pending_job_waits(api: ApiServer, store: Connection) -> None:
    later = await api.submit(delay="1h")
    assert (await reason(api, later)).startswith("It is due at ")
    first, second = await api.submit(), await api.submit()
    assert "No worker listens to the queue 'default'" in await reason(api, second)
    worker_id = await register(store)
    assert "on its way to a worker, and 1 job waits before it" in await reason(api, second)
    await seeding.start(store, first, worker_id=worker_id)
    assert await reason(api, second) == "All 1 slots of the queue 'default' are busy."
    third = await api.submit()
    assert "and 1 job waits before it" in await reason(api, third)
    assert (await reason(api, first)).startswith(f"It runs on worker {worker_id} on h1 since 20")


async def test_why_a_job_waits_for_its_lock(api: ApiServer, store: Connection) -> None:
    holder, waiter = await api.submit(lock="db"), await api.submit(lock="db")
    await seeding.start(store, holder)
    assert f"It waits for the lock 'db', which job {holder} holds since 20" in await reason(api, waiter)
    facts = (await api.get(f"/v1/jobs/{waiter}/why")).json
    assert (facts["lock"], facts["lock_held_by"]) == ("db", holder)


async def test_why_says_that_a_worker_is_lost_or_stops_its_job(api: ApiServer, store: Connection) -> None:
    job_id, worker_id = await api.submit(), await register(store)
    await seeding.start(store, job_id, worker_id=worker_id)
    await api.post(f"/v1/jobs/{job_id}/cancel")
    assert "It is being cancelled since" in await reason(api, job_id)
    await store.execute("UPDATE workers SET seen_at = clock_timestamp() - interval '1 minute'")
    assert "is lost, silent since" in await reason(api, job_id)


async def test_why_says_how_a_job_ended(api: ApiServer, store: Connection) -> None:
    completed, dead, failed, cancelled = [await api.submit() for _ in range(4)]
    await seeding.run(store, completed, "COMPLETED")
    await seeding.run(store, dead, "DEAD", exit_code=3)
    await seeding.run(store, failed, "FAILED", exit_code=4)
    await store.execute(
        "UPDATE jobs SET retries_used = 2, run_at = clock_timestamp() + interval '40 s' WHERE id = $1", failed
    )
    await api.post(f"/v1/jobs/{cancelled}/cancel")
    expired = await api.submit(expires_at="2020-01-01T00:00:00Z")
    assert "in attempt 1." in await reason(api, completed)
    assert "attempt 1 failed (exit code 3), and this is not retried." in await reason(api, dead)
    assert await reason(api, failed) == "Attempt 1 failed (exit code 4); retry 2 of 3 follows in 40s."
    assert (await reason(api, cancelled)).startswith("It was cancelled at ")
    assert await reason(api, expired) == "It expired: it had not started by 2020-01-01T00:00:00Z."


async def test_a_tree_shows_the_chain_from_its_root(api: ApiServer) -> None:
    grandchild = {**TRUE, "name": "grandchild", "expires_at": "2020-01-01T00:00:00Z"}
    child = {**TRUE, "name": "child", "expires_at": "2020-01-01T00:00:00Z", "on_failure": [grandchild, grandchild]}
    root = await api.submit(name="root", expires_at="2020-01-01T00:00:00Z", on_failure=child)
    tree = (await api.get(f"/v1/jobs/{root}/tree")).json

    def names(tree: dict[str, Any]) -> Any:
        return tree["job"]["name"], [names(child) for child in tree["children"]]

    expected: Any = ("root", [("child", [("grandchild", []), ("grandchild", [])])])
    assert names(tree) == expected
    leaf = tree["children"][0]["children"][1]["job"]["id"]
    assert names((await api.get(f"/v1/jobs/{leaf}/tree")).json) == expected


@pytest.mark.parametrize("verb", ["retry", "replay"])
async def test_a_dead_job_is_sent_round_again(api: ApiServer, store: Connection, verb: str) -> None:
    job_id = await api.submit()
    await seeding.run(store, job_id, "DEAD", exit_code=1)
    answer = await api.post(f"/v1/jobs/{job_id}/{verb}")
    assert (answer.status, answer.json["status"], answer.json["retries_used"]) == (200, "PENDING", 0)
    assert ("token:3", "job.retry") in await seeding.audited(store, job_id)


async def test_a_change_that_the_state_forbids_is_a_conflict_that_names_it(api: ApiServer, store: Connection) -> None:
    running, completed = await api.submit(), await api.submit()
    await seeding.start(store, running)
    await seeding.run(store, completed, "COMPLETED")
    refused = [
        await api.post(f"/v1/jobs/{running}/retry"),
        await api.post(f"/v1/jobs/{completed}/cancel"),
        await api.call("DELETE", f"/v1/jobs/{running}"),
    ]
    assert [(answer.status, answer.code) for answer in refused] == [(409, "conflict")] * 3
    states = ["RUNNING", "COMPLETED", "RUNNING"]
    assert [state in answer.json["detail"] for answer, state in zip(refused, states, strict=True)] == [True] * 3


async def test_a_cancel_is_idempotent(api: ApiServer, store: Connection) -> None:
    pending, running = await api.submit(), await api.submit()
    await seeding.start(store, running)
    for _ in range(2):
        answers = [await api.post(f"/v1/jobs/{job_id}/cancel") for job_id in (pending, running)]
        assert [(one.status, one.json["status"]) for one in answers] == [(202, "CANCELLED"), (202, "RUNNING")]


async def test_a_deleted_job_is_gone(api: ApiServer, store: Connection) -> None:
    job_id = await api.submit()
    await seeding.run(store, job_id, "COMPLETED")
    assert (await api.call("DELETE", f"/v1/jobs/{job_id}")).status == 204
    assert (await api.get(f"/v1/jobs/{job_id}")).status == 404


async def test_dead_letters_are_listed_retried_and_purged(api: ApiServer, store: Connection) -> None:
    ids = [await api.submit(queue=queue, labels={"n": "1"}) for queue in ("a", "a", "b")]
    for job_id in ids:
        await seeding.run(store, job_id, "DEAD", exit_code=1)
    await api.submit()
    assert [job["id"] for job in (await api.get("/v1/dead-letters")).json["items"]] == ids[::-1]
    wanted = {"queue": ["a"], "label": {"n": "1"}}
    assert (await api.post("/v1/dead-letters/retry", {**wanted, "dry_run": True})).json == {"count": 2}
    assert (await api.post("/v1/dead-letters/retry", wanted)).json == {"count": 2}
    assert (await api.post("/v1/dead-letters/purge", {"label": "n:1"})).json == {"count": 1}
    assert (await api.get("/v1/dead-letters")).json["items"] == []
    assert (await api.get(f"/v1/jobs/{ids[0]}")).json["status"] == "PENDING"
    assert (await api.get(f"/v1/jobs/{ids[2]}")).status == 404


@pytest.mark.parametrize("state", ["DEAD", "dead", "Dead"])
async def test_dead_letters_may_be_asked_for_by_their_state_and_no_other(
    api: ApiServer, store: Connection, state: str
) -> None:
    dead, failed = await api.submit(), await api.submit()
    await seeding.run(store, dead, "DEAD", exit_code=1)
    await seeding.run(store, failed, "FAILED", exit_code=1)
    assert [job["id"] for job in (await api.get(f"/v1/dead-letters?status={state}")).json["items"]] == [dead]
    assert (await api.get(f"/v1/dead-letters?status={state}&status=failed")).status == 400
    for action in ("retry", "purge"):
        path = f"/v1/dead-letters/{action}"
        assert (await api.post(path, {"status": [state], "dry_run": True})).json == {"count": 1}
        refused = await api.post(path, {"status": [state, "failed"]})
        assert (refused.status, refused.code, refused.paths) == (400, "bad_query", ["status"])
    assert (await api.post("/v1/dead-letters/purge", {"status": state})).json == {"count": 1}


@pytest.mark.parametrize(
    "body",
    [{"queu": "a"}, {"dry_run": "yes"}, {"queue": {"a": [1]}}, {"label": True}, [1],
     {"queue": []}, {"label": {}}, {"name": []}, {"label": {"a": None}}],
)  # fmt: skip
async def test_bad_dead_letter_filters_change_nothing(api: ApiServer, store: Connection, body: Any) -> None:
    job_id = await api.submit()
    await seeding.run(store, job_id, "DEAD", exit_code=1)
    assert (await api.post("/v1/dead-letters/purge", body)).status == 400
    assert (await api.get(f"/v1/jobs/{job_id}")).status == 200


@pytest.mark.parametrize("action", ["retry", "purge"])
async def test_all_dead_letters_are_meant_only_by_a_body_that_says_so(
    api: ApiServer, store: Connection, action: str
) -> None:
    job_id = await api.submit()
    await seeding.run(store, job_id, "DEAD", exit_code=1)
    without = await api.post(f"/v1/dead-letters/{action}")
    assert (without.status, without.json["code"]) == (400, "bad_request")
    assert (await api.get(f"/v1/jobs/{job_id}")).json["status"] == "DEAD"
    assert (await api.post(f"/v1/dead-letters/{action}", {})).json == {"count": 1}


async def test_a_lost_worker_can_not_be_drained(api: ApiServer, store: Connection) -> None:
    worker_id = await register(store)
    await store.execute("UPDATE workers SET state = 'lost' WHERE id = $1", worker_id)
    refused = await api.post(f"/v1/workers/{worker_id}/drain")
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    asked = await store.fetchrow("SELECT state, drain_requested_at FROM workers WHERE id = $1", worker_id)
    assert asked is not None
    assert tuple(asked) == ("lost", None)


async def test_workers_are_listed_and_drained(api: ApiServer, store: Connection) -> None:
    worker_id = await register(store)
    listed = (await api.get("/v1/workers?limit=10")).json
    assert [(one["id"], one["host"], one["state"]) for one in listed["items"]] == [(worker_id, "h1", "active")]
    drained = await api.post(f"/v1/workers/{worker_id}/drain")
    assert (drained.status, drained.json["id"]) == (202, worker_id)
    assert (await api.post("/v1/workers/999/drain")).status == 404


async def test_stats_count_by_state_and_queue(api: ApiServer, store: Connection) -> None:
    done = await api.submit(queue="mail")
    await seeding.run(store, done, "COMPLETED")
    await api.submit()
    numbers = (await api.get("/v1/stats")).json
    assert numbers["states"] == {
        "PENDING": 1, "RUNNING": 0, "FAILED": 0, "COMPLETED": 1, "DEAD": 0, "CANCELLED": 0
    }  # fmt: skip
    assert numbers["queues"]["mail"]["COMPLETED"] == 1
    assert numbers["oldest_pending_s"] >= 0
    assert numbers["rates"]["submitted_per_s"]["15m"] > 0
