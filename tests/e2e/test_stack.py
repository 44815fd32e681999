"""The tests' own clusters are whole Relays, and nothing of them stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.process import tree
from tests.stack import processes, until

if TYPE_CHECKING:
    from tests.stack import StartCluster


async def test_a_cluster_runs_jobs_and_its_cli_finds_it(cluster: StartCluster) -> None:
    relay = await cluster(workers=2)
    job_id = await relay.submit({"payload": {"command": "echo", "args": ["hi"]}})
    job = await relay.wait(job_id)
    assert job["status"] == "COMPLETED"
    shown = await relay.cli("logs", str(job_id))
    assert (shown.code, shown.stdout) == (0, b"hi\n")


async def test_a_worker_can_be_killed_or_stopped_and_another_started(cluster: StartCluster) -> None:
    relay = await cluster(workers=2)
    killed, stopped = relay.workers
    killed.kill()
    await killed.ended()
    assert await stopped.stop() == 0
    await relay.start_worker()
    job_id = await relay.submit({"payload": {"command": "true"}})
    assert (await relay.wait(job_id))["worker"] == relay.workers[-1].id


async def test_a_server_comes_back_at_its_address(cluster: StartCluster) -> None:
    relay = await cluster(workers=0)
    server = await relay.restart_server(relay.servers[0])
    assert server.api == relay.api
    assert (await relay.request("GET", "/v1/jobs"))[0] == 200


async def test_ending_a_cluster_ends_its_jobs(cluster: StartCluster) -> None:
    relay = await cluster()
    job_id = await relay.submit({"payload": {"script": "setsid sleep 1000 & sleep 1000"}})
    await relay.wait(job_id, "RUNNING")
    worker = relay.workers[0]
    sleeping = await until(
        lambda: [
            each for each in tree.descendants(worker.pid, procs=tree.snapshot()) if tree.claim_of(each.pid) is not None
        ],
        what="the job's processes",
    )
    await relay.end()
    await until(lambda: not processes.still_running(sleeping), what="the job's end")
