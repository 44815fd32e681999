"""`relay serve` and `relay work` as `relay dev` runs them: the same commands as everywhere, with an environment made for them.

Of the user's own RELAY_… variables those are handed on that say how jobs run; those that say where things are, or how to reach
them, are `relay dev`'s to set.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from relay.config import VARIABLES
from relay.config.local import DevState
from relay.dev import child, ports
from relay.dev.server import Server
from relay.process import tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relay.dev.servers import Servers

DRAIN_S = 5  # how long jobs may run on after Ctrl-C
TERM_S = 1.5  # from their SIGTERM to their SIGKILL
CLEAN_S = 5.0
HANDED_ON = frozenset(
    f"RELAY_{name}"
    for name in (
        "CONCURRENCY", "QUEUES", "LEASE_TTL", "ALLOWED_COMMANDS", "RUN_AS", "RETENTION", "MAX_BODY", "MAX_BATCH",
        "FAILPOINTS",
    )
)  # fmt: skip
DATABASE = "postgres"


def state_of(servers: Servers, *, port: int, token: str) -> DevState:
    """What `dev.json` tells about this run."""
    return DevState(
        api=f"http://{ports.HOST}:{port}",
        token=token,
        db_dsn=servers.postgres.dsn(DATABASE),
        kafka_brokers=servers.broker.address,
        redis_addr=servers.redis.url,
        pid=os.getpid(),
    )


def environment(environ: Mapping[str, str], state: DevState, *, scratch: Path | None) -> dict[str, str]:
    """The environment of `relay serve` and `relay work`; `scratch` is where their temporary files go (None: as usual).

    Jobs of another user could not reach a scratch folder within ours.
    """
    settings = {variable.name for variable in VARIABLES} | {f"{variable.name}_FILE" for variable in VARIABLES}
    kept = {name: value for name, value in environ.items() if name not in settings or name in HANDED_ON}
    if scratch is not None and "RELAY_RUN_AS" not in environ:
        scratch.mkdir(exist_ok=True)
        kept["TMPDIR"] = str(scratch)
    return {
        **kept,
        "RELAY_DB_DSN": state.db_dsn,
        "RELAY_KAFKA_BROKERS": state.kafka_brokers,
        "RELAY_REDIS_ADDR": state.redis_addr,
        "RELAY_PORT": state.api.rpartition(":")[2],
        "RELAY_DRAIN_TIMEOUT": f"{DRAIN_S}s",
    }


def start_serve(folder: Path, env: Mapping[str, str]) -> Server:
    """Start the API. Wait for `ready` before use."""
    return Server(lambda: _spawn("serve", "serve", folder=folder, env=env), int(env["RELAY_PORT"]))


class Worker(Server):
    """A `relay work`: the guard is our child, the worker is below it."""

    async def is_ready(self) -> bool:
        """Whether the guard has started the worker."""
        return bool(tree.descendants(self.child.pid, procs=tree.snapshot()))

    async def stop(self) -> None:
        """Let running jobs end for a while, then kill them."""
        self.child.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.stop_s):
                await self.child.ended()
                return
        await self.kill()

    async def kill(self) -> None:
        """Kill the worker and its jobs at once; the guard makes sure that none is left, and ends."""
        tree.signal_each(tree.descendants(self.child.pid, procs=tree.snapshot()), signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEAN_S):
                await self.child.ended()
        self.child.kill()


def start_worker(number: int, folder: Path, env: Mapping[str, str]) -> Worker:
    """Start a worker."""
    return Worker(lambda: _spawn(f"work-{number}", "work", folder=folder, env=env), 0, stop_s=DRAIN_S + TERM_S)


def _spawn(name: str, role: str, *, folder: Path, env: Mapping[str, str]) -> child.Child:
    argv = [sys.executable, "-P", "-m", "relay", role]
    return child.spawn(f"relay {name}", argv, cwd=folder, log=folder / "logs" / f"{name}.log", env=env)
