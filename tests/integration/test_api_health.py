"""Alive, ready, measured, documented; and what remains when a store is away."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from relay import config
from relay.api import health
from relay.errors import BadConfig
from relay.store import connection
from tests.integration import seeding
from tests.integration.apis import TRUE, ApiServer, api, api_settings, running_api, store
from tests.integration.wire import wired
from tests.stack.waiting import until

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.store.connection import Connection, Pool

__all__ = ["api", "api_settings", "store"]


async def test_a_healthy_server_is_alive_and_ready(api: ApiServer) -> None:
    assert (await api.get("/healthz", scope=None)).json == {"status": "ok"}

    async def readiness() -> object:
        answer = await api.get("/readyz", scope=None)
        return answer.json if (answer.status, answer.json["status"]) == (200, "ready") else None

    assert await until(readiness, what="ready") == {
        "status": "ready",
        "postgresql": "up",
        "schema": "current",
        "redis": "up",
        "kafka": "up",
    }


async def test_without_redis_and_kafka_it_is_degraded_and_accepts_jobs(api_settings: Settings, pool: Pool) -> None:
    settings = dataclasses.replace(api_settings, redis_url="redis://127.0.0.1:1", kafka_brokers=("127.0.0.1:1",))
    async with running_api(settings, pool) as lame:
        answer = await lame.get("/readyz", scope=None)
        assert (answer.status, answer.json["status"]) == (200, "degraded")
        assert (answer.json["redis"], answer.json["kafka"]) == ("down", "down")
        job_id = await lame.submit()
        assert (await lame.get(f"/v1/jobs/{job_id}?wait=100ms")).json["status"] == "PENDING"
        assert (await lame.post(f"/v1/jobs/{job_id}/cancel")).json["status"] == "CANCELLED"


async def test_without_kafka_why_says_how_the_job_is_fetched(
    api_settings: Settings, pool: Pool, store: Connection
) -> None:
    settings = dataclasses.replace(api_settings, kafka_brokers=("127.0.0.1:1",))
    await store.execute(
        """INSERT INTO workers (host, boot_id, pid_ns, pid, pid_start, version, queues, slots, lease_ttl_s)
           VALUES ('h', 'b', 1, 1, 1, '1', '{default}', 2, 15)"""
    )
    async with running_api(settings, pool) as lame:
        job_id = await lame.submit()

        async def reason() -> object:
            told = (await lame.get(f"/v1/jobs/{job_id}/why")).json["reason"]
            return told if "Kafka" in told else None

        assert "from the database within seconds" in str(await until(reason, what="a word on Kafka"))


async def test_without_postgresql_answers_are_503_until_it_is_back(
    api_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOK_S", 0.0)
    address = urlsplit(api_settings.db_dsn)
    async with wired(address.hostname or "", address.port or 0) as wire:
        dsn = address._replace(netloc=f"{address.netloc.rpartition('@')[0]}@127.0.0.1:{wire.port}").geturl()
        settings = dataclasses.replace(api_settings, db_dsn=dsn)
        pool = await connection.open_pool(settings, application="wired", size=4)
        async with running_api(settings, pool) as cut_off:
            job_id = await cut_off.submit()
            await wire.cut()
            answers = [
                await cut_off.post("/v1/jobs", TRUE),
                await cut_off.post("/v1/jobs/batch", [TRUE]),
                await cut_off.get("/v1/jobs"),
                await cut_off.get(f"/v1/jobs/{job_id}"),
                await cut_off.get(f"/v1/jobs/{job_id}?wait=1s"),
                await cut_off.get(f"/v1/jobs/{job_id}/logs"),
                await cut_off.post(f"/v1/jobs/{job_id}/cancel"),
                await cut_off.get("/v1/stats"),
            ]
            assert [(one.status, one.code) for one in answers] == [(503, "unavailable")] * len(answers)
            assert {one.headers["Retry-After"] for one in answers} == {"1"}
            ready = await cut_off.get("/readyz", scope=None)
            assert (ready.status, ready.json["status"], ready.json["postgresql"]) == (503, "unavailable", "down")
            assert (await cut_off.get("/healthz", scope=None)).status == 200
            assert (await cut_off.get("/metrics")).status in {200, 503}
            await wire.mend()

            async def is_back() -> bool:
                return (await cut_off.post("/v1/jobs", TRUE)).status == 201

            await until(is_back, what="201")
        await pool.close()


async def test_another_schema_makes_it_unavailable(api: ApiServer, store: Connection) -> None:
    await store.execute("DELETE FROM schema_migrations")
    answer = await api.get("/readyz", scope=None)
    assert (answer.status, answer.json["status"]) == (503, "unavailable")
    assert "relay migrate" in answer.json["schema"]


async def test_metrics_are_prometheus_text(api: ApiServer, store: Connection) -> None:
    dead = await api.submit(queue="mail")
    await seeding.run(store, dead, "DEAD", exit_code=1)
    await api.submit()
    answer = await api.get("/metrics", scope="read")
    lines = answer.body.decode().splitlines()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'relay_jobs{queue="mail",status="DEAD"} 1.0' in lines
    assert 'relay_jobs{queue="default",status="PENDING"} 1.0' in lines
    assert 'relay_part_up{part="postgresql"} 1.0' in lines
    assert any(re.match(r'relay_http_requests_total{method="POST",status="201"} \d', line) for line in lines)


async def test_the_documentation_is_self_contained(api: ApiServer) -> None:
    page = await api.get("/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "style-src 'sha256-" in page.headers["Content-Security-Policy"]
    assert not re.search(rb"<script|src=|https?://(?!127\.0\.0\.1)|style=", page.body)


async def test_every_get_answers_the_media_types_that_are_documented(api: ApiServer) -> None:
    paths = (await api.get("/openapi.json")).json["paths"]
    for path in ("/v1/jobs", "/v1/jobs/{id}", "/v1/jobs/{id}/logs", "/metrics", "/docs", "/openapi.json", "/readyz"):
        for kind in paths[path]["get"]["responses"]["200"]["content"]:
            asked = path.replace("{id}", str(await api.submit()))
            answer = await api.get(asked, headers={"Accept": kind})
            assert (path, answer.headers["Content-Type"].partition(";")[0]) == (path, kind)


async def test_a_server_without_any_token_answers_401(api: ApiServer, store: Connection) -> None:
    await store.execute("DELETE FROM tokens")
    assert (await api.get("/v1/jobs", scope=None)).status == 401


@pytest.mark.parametrize(
    "environ",
    [
        {"RELAY_AUTH": "off", "RELAY_HOST": "0.0.0.0", "RELAY_BEHIND_PROXY": "true"},
        {"RELAY_AUTH": "off", "RELAY_ENV": "production"},
        {"RELAY_HOST": "0.0.0.0"},
    ],
)
def test_an_unsafe_configuration_does_not_start(environ: dict[str, str]) -> None:
    with pytest.raises(BadConfig, match="RELAY_"):
        config.load({"RELAY_DB_DSN": "postgresql://u@localhost/d", **environ}, role="serve")
