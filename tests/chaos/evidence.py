"""What the jobs of a chaos run say themselves, whatever the tables say.

Each job's script holds `flock` on its job's file, through all processes that it starts; an attempt that finds it held writes "overlap".
Starts and ends are lines appended to one file (O_APPEND, one write each). No clock decides about an overlap, and nothing of Relay is
asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = r"""#!/bin/sh
# folder, tag, plan (exit code; "once": 3 in the first attempt), seconds, lines to print, named lock, family ("family": daemons too)
folder=$1 tag=$2 plan=$3 seconds=$4 lines=$5 lock=$6 family=$7
say() {
  echo "$1 $tag $RELAY_JOB_ID $RELAY_ATTEMPT $RELAY_CLAIM $RELAY_WORKER $PPID $(date +%s.%N) ${2:--}" >> "$folder/lines"
}
exec 9>> "$folder/held/$tag"
flock -n 9 || { say overlap; say end 99; exit 99; }
if [ -n "$lock" ]; then
  exec 8>> "$folder/held/lock-$lock"
  flock -n 8 || say lock_overlap
fi
say start
if [ "$family" = family ]; then
  setsid sleep 600 > /dev/null 2>&1 &
  (setsid sh -c 'trap "" TERM; sleep 600; :' > /dev/null 2>&1 &)
fi
n=0
while [ "$n" -lt "$lines" ]; do
  n=$((n + 1))
  echo "$tag attempt $RELAY_ATTEMPT line $n"
done
sleep "$seconds"
code=$plan
if [ "$plan" = once ]; then
  code=0
  [ "$RELAY_ATTEMPT" -gt 1 ] || code=3
fi
say end "$code"
exit "$code"
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a job said. `worker_pid` is its parent; `at` in seconds since the epoch; `code` of an end."""

    what: str
    tag: str
    job_id: int
    attempt: int
    claim_id: str
    worker_id: int
    worker_pid: int
    at: float
    code: int | None = None


class Folder:
    """The folder that a run's jobs write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = path / "lines"
        self.script = path / "job.sh"

    def make(self) -> None:
        """Make it, with the script that the jobs run."""
        (self.path / "held").mkdir(parents=True)
        self._lines.touch()
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)

    def lines(self) -> list[Line]:
        """All that was said so far; a line that was cut off by a kill -9 of the writer has no newline and does not count."""
        *whole, _ = self._lines.read_text().split("\n")
        return [_parse(line) for line in whole]

    def open_claims(self) -> dict[str, Line]:
        """Starts without an end, by claim."""
        open_: dict[str, Line] = {}
        for line in self.lines():
            if line.what == "start":
                open_[line.claim_id] = line
            elif line.what == "end":
                open_.pop(line.claim_id, None)
        return open_


def printed(tag: str, attempt: int, lines: int) -> bytes:
    """What an attempt prints to stdout when it is not killed."""
    return "".join(f"{tag} attempt {attempt} line {n}\n" for n in range(1, lines + 1)).encode()


def _parse(line: str) -> Line:
    what, tag, job_id, attempt, claim_id, worker_id, worker_pid, at, code = line.split(" ")
    return Line(
        what,
        tag,
        int(job_id),
        int(attempt),
        claim_id,
        int(worker_id),
        int(worker_pid),
        float(at),
        None if code == "-" else int(code),
    )
