"""The README's ten examples run, as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import readme

if TYPE_CHECKING:
    from tests import stack as stacks


async def test_every_example_completes(cluster: stacks.StartCluster) -> None:
    relay = await cluster()
    submitted = {title: await relay.submit(spec) for title, spec in readme.examples()}

    ended = {title: (await relay.wait(job_id))["status"] for title, job_id in submitted.items()}

    assert ended == dict.fromkeys(submitted, "COMPLETED")
    assert len(ended) == 10
