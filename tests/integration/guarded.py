"""A worker for the guard's tests: does what the lines on its stdin say, one JSON list each, and answers each with one line.

Run by a real guard, it talks to it through a real link, and starts real process trees (`FAMILY`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from relay.process import link, subreaper, tree

FAMILY = r"""
echo $$ >> "$1"
setsid sh -c 'echo $$ >> "$1"; exec sleep 1000' sh "$1" &
(setsid sh -c 'echo $$ >> "$1"; exec sleep 1000' sh "$1" &)
env -i setsid /bin/sh -c 'echo $$ >> "$1"; exec sleep 1000' sh "$1" &
if [ "$2" = 5 ]; then (env -i setsid /bin/sh -c 'echo $$ >> "$1"; exec sleep 1000' sh "$1" &) fi
exec sleep 1000
"""
"""Four processes: the leader, a child in its own session, a double-forked daemon, and a child in its own session without
cookie; and a fifth on request: a daemon without cookie, which nothing but its adoption gives away."""


def family(claim_id: str, pids: str, size: int = 4) -> subprocess.Popen[bytes]:
    """Start a tree of processes that carry the claim and append their pids to a file."""
    return subprocess.Popen(
        ["/bin/sh", "-c", FAMILY, "sh", pids, str(size)],
        env={"PATH": os.environ["PATH"], tree.COOKIE: claim_id},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


NO_PID = 1 << 22  # no process has such a number: the guard kills whatever has those of a claim's leader


class Worker:
    def __init__(self) -> None:
        self.link = link.GuardLink.from_environ()
        self.jobs: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, claim_id: str, ttl_ms: int, pids: str, size: int = 4, cgroup: str | None = None) -> str:
        deadline_ns = self.announce(claim_id, ttl_ms)
        first = tree.now_ticks()
        job = self.jobs[claim_id] = family(claim_id, pids, size)
        self.link.started(claim_id, job.pid, tree.Start(first, tree.now_ticks()), cgroup=cgroup)
        return deadline_ns

    def announce(self, claim_id: str, ttl_ms: int) -> str:
        deadline_ns = _in_ms(ttl_ms)
        try:
            self.link.starting(claim_id, deadline_ns)
        except link.StartRefused:
            return "refused"
        return str(deadline_ns)

    def renew(self, ttl_ms: int, *claim_ids: str) -> str:
        self.link.renewed(dict.fromkeys(claim_ids, _in_ms(ttl_ms)))
        return "renewed"

    def end(self, claim_id: str) -> str:
        self.link.ended(claim_id)
        return "ended"

    def many(self, count: int) -> str:
        for number in range(count):
            self.link.starting(_name(number), _in_ms(60_000))
            self.link.started(_name(number), NO_PID + number, tree.Start(1, 1))
        return "many"

    def renew_many(self, count: int) -> str:
        return self.renew(60_000, *map(_name, range(count)))

    def flood(self) -> str:
        began = time.monotonic()
        while not self.link.is_closed and time.monotonic() < began + 30:
            self.link.renewed({"x" * 60_000: 1})
        return "closed" if self.link.is_closed else "open"

    def crowd(self, count: int) -> str:
        """Fill the pipe of a stopped guard, and let it go on when there is no room left."""
        waited: list[bool] = []
        wait_for_room = self.link._wait_for_room

        def go_on() -> bool:
            os.kill(os.getppid(), signal.SIGCONT)
            waited.append(wait_for_room())
            return waited[-1]

        self.link._wait_for_room = go_on  # type: ignore[method-assign]
        os.kill(os.getppid(), signal.SIGSTOP)
        self.many(count)
        return "waited for room" if any(waited) and all(waited) else "did not wait"

    def babble(self) -> str:
        self.link._send("starting what\n")
        return "babbled"

    def look(self) -> str:
        fds = [name for job in self.jobs.values() for name in _fds(job.pid)]
        return json.dumps({"environ": dict(os.environ), "job_fds": fds, "session": os.getsid(0), "pid": os.getpid()})

    def leave(self, code: int) -> str:
        sys.exit(code)


def _in_ms(ttl_ms: int) -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) + ttl_ms * 1_000_000


def _fds(pid: int) -> list[str]:
    return [path.name for path in Path(f"/proc/{pid}/fd").iterdir()]


def _name(number: int) -> str:
    return f"0199d3c4-0000-7000-8000-{number:012}"


async def main() -> None:
    subreaper.become_subreaper()
    worker = Worker()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(signum, _say, signal.Signals(signum).name)
    loop.add_reader(sys.stdin.fileno(), _obey, worker)
    _say(str(os.getpid()))
    await worker.link.wait_closed()
    _say("guard gone")
    killed = [
        tree.kill_until_clean([tree.Target(claim_id, job.pid)], deadline_s=5) for claim_id, job in worker.jobs.items()
    ]
    _say(f"killed {sum(killed)}")
    os._exit(3)


def _obey(worker: Worker) -> None:
    name, *arguments = json.loads(sys.stdin.readline())
    _say(getattr(worker, name)(*arguments))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
