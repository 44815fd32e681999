"""The guard: the worker's parent, which kills a claim's processes when the worker can't.

It runs the worker as its child, hears over a pipe which claims run and until when (CLOCK_BOOTTIME), and kills all processes of a
claim whose deadline passes (worker stopped, stalled, cut off), or of every claim when the worker dies. A deadline only grows, and
never once it has passed. One that passes between "starting" and "started" kills the worker too: only so is it sure that nothing
forks afterwards. Messages, one line each: `starting CLAIM NS`, `started CLAIM PID FIRST LAST [CGROUP]`, `ended CLAIM`,
`renewed NS CLAIM...`. What it can't understand it answers with the worker's death, the safe side.

A process of its own, because a thread or a signal handler of the worker stops with it; `python -I -S` and the standard library's
smallest parts, because it must stay small and never fail: 11 MB, no CPU while nothing happens. It waits in poll() only, never for a
lock, a disk or an answer, and says nothing (a full stderr would block it). It is the subreaper of what the worker leaves behind.
Not promised: see `tree`; and a guard that is stopped itself guards nothing (the worker notices when the pipe is full).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl
from typing import TYPE_CHECKING, NoReturn

from relay.process import strays, tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

ENVIRON_VARIABLE = f"{strays.PREFIX}ENVIRON"  # the number of the file that has the worker's environment
PIPE_VARIABLE = f"{strays.PREFIX}FD"  # not RELAY_…: it is no setting, and unknown ones of those stop the worker

_FORWARDED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_PIPE_BYTES = 1 << 18  # renewals of 4,000 claims, or messages of a second
_LULL_MS = 20  # lets messages gather: at 1,000 jobs a second one wake-up takes 60 of them; the worker's death ends it
_LOOK_MS = 1000  # poll's clock stands still while the machine sleeps, the deadlines' does not
_STRAYS_S = 1.0
_GIVE_UP_S = (
    10.0  # on what is stuck in the kernel when the worker is dead: its SIGKILL is pending, it runs no more code
)


class _Claim:
    """What the worker has said of one claim, and whether its deadline has passed."""

    __slots__ = ("deadline_ns", "is_passed", "target")

    def __init__(self, claim_id: str, deadline_ns: int) -> None:
        self.target = tree.Target(claim_id)
        self.deadline_ns = deadline_ns
        self.is_passed = False


class Guard:
    """Guards one worker, from its birth to the end of its last process."""

    def __init__(self, worker: int, pipe: int) -> None:
        """`pipe` is the end to read, non-blocking; `worker` a child that nobody else reaps."""
        self._worker = worker
        self._pidfd = os.pidfd_open(worker)
        self._pipe = pipe
        self._rest = b""
        self._claims: dict[str, _Claim] = {}
        self._dying: dict[str, _Claim] = {}  # passed, and not yet found clean
        self._dying_since = 0.0
        self._clean_scans = 0
        self._nearest_ns: int | None = None  # no deadline that has not passed is before it
        self._status: int | None = None  # the worker's, once reaped
        self._lull, self._poll = select.poll(), select.poll()
        for poll in (self._lull, self._poll):
            poll.register(self._pidfd, select.POLLIN)
        self._poll.register(pipe, select.POLLIN)

    def forward(self, signum: int, _frame: FrameType | None = None) -> None:
        """Hand a signal on to the worker (the first drains it, the second hurries it)."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signum)

    def run(self) -> int:
        """Guard until the worker has died and nothing that it ran is left. Returns the exit code to end with."""
        while not self._reap():
            self._hear_all()
            self._pass_deadlines()
            self._kill_dying()
            self._lull.poll(_LULL_MS)
            self._poll.poll(self._timeout_ms())
        self._hear_all()
        self._kill_all()
        self._reap()
        code = os.waitstatus_to_exitcode(self._status or 0)
        return code if code >= 0 else 128 - code

    def _hear_all(self) -> None:
        try:
            while data := os.read(self._pipe, 16384):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._hear(os.fsdecode(line))
        except BlockingIOError:
            return
        except (ValueError, LookupError):
            self._rest = b""
        self._kill_worker()  # it has closed its end, or makes no sense

    def _hear(self, line: str) -> None:
        word, first, *rest = line.split(" ")
        if word == "renewed":
            self._renew(int(first), rest)
        elif word == "starting" and first not in self._claims:
            self._claims[first] = claim = _Claim(first, int(rest[0]))
            self._nearest_ns = min(self._nearest_ns or claim.deadline_ns, claim.deadline_ns)
        elif word == "started":
            pid, since, until, *cgroup = rest
            start = tree.Start(int(since), int(until))
            self._claims[first].target = tree.Target(first, int(pid), start, " ".join(cgroup) or None)
        elif word == "ended":
            self._claims.pop(first, None)
            self._dying.pop(first, None)
        else:
            raise ValueError(line)

    def _renew(self, deadline_ns: int, claim_ids: Sequence[str]) -> None:
        now = _now_ns()
        for claim_id in claim_ids:
            claim = self._claims.get(claim_id)
            if claim is not None and now < claim.deadline_ns < deadline_ns:
                claim.deadline_ns = deadline_ns

    def _pass_deadlines(self) -> None:
        now = _now_ns()
        if self._nearest_ns is None or now < self._nearest_ns:
            return
        self._nearest_ns = None
        for claim_id, claim in self._claims.items():
            if claim.is_passed:
                continue
            if claim.deadline_ns > now:
                self._nearest_ns = min(self._nearest_ns or claim.deadline_ns, claim.deadline_ns)
                continue
            claim.is_passed = True
            self._dying[claim_id] = claim
            self._dying_since, self._clean_scans = time.monotonic(), 0
            if claim.target.leader is None:
                self._kill_worker()

    def _kill_dying(self) -> None:
        if not self._dying:
            return
        targets = [claim.target for claim in self._dying.values()]
        self._clean_scans = self._clean_scans + 1 if self._kill(targets, below=self._worker) else 0
        if self._clean_scans == 2:
            self._dying.clear()

    def _kill_all(self) -> None:
        self._dying_since, clean_scans = time.monotonic(), 0
        targets = [claim.target for claim in self._claims.values()]
        while clean_scans < 2 and time.monotonic() - self._dying_since < _GIVE_UP_S:
            clean_scans = clean_scans + 1 if self._kill(targets, below=os.getpid()) else 0
            if clean_scans == 0:
                time.sleep(self._pause_s())  # nobody is left to listen to
            self._reap()

    def _kill(self, targets: Sequence[tree.Target], *, below: int) -> bool:
        """Scan once, and kill what is found of the claims. Returns whether there was nothing.

        When no other claim runs, all `below` belongs to these: daemons that left group and cookie behind too. A claim that was
        announced by the time the scan was over counts as running: its processes may be in it.
        """
        try:
            procs = tree.snapshot()
            if self._status is None:
                self._hear_all()
            is_all = self._status is not None or all(claim.is_passed for claim in self._claims.values())
            also = tree.descendants(below, procs=procs) if is_all else ()
            return not tree.kill_round(targets, also=also, procs=procs)
        except OSError:
            return False  # the machine is out of descriptors or memory: look again

    def _kill_worker(self) -> None:
        self.forward(signal.SIGKILL)

    def _timeout_ms(self) -> int | None:
        if self._dying:
            return int(self._pause_s() * 1000)
        if self._nearest_ns is None:
            return None
        return max(0, min(_LOOK_MS, (self._nearest_ns - _now_ns()) // 1_000_000 + 1))

    def _pause_s(self) -> float:
        """A tenth of how long it has taken so far: quick at first, and no busy loop over what is stuck in the kernel."""
        return max(0.01, min(1.0, (time.monotonic() - self._dying_since) / 10))

    def _reap(self) -> bool:
        """Take dead children's exit statuses. Returns whether the worker has ended."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._worker:
                    self._status = ended[1]
        return self._status is not None


def main() -> NoReturn:
    """Run the command in `sys.argv[1:]` as the worker, guard it, and exit as it did (128 + n if a signal ended it).

    Started by `link.exec_guard`, which has made this process a subreaper: that takes a library too large for a guard.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reader, False)
    with suppress(OSError):  # more than this user may have: the default of 64 KiB does as well, with less slack
        fcntl(writer, F_SETPIPE_SZ, _PIPE_BYTES)
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    worker = os.fork()
    if worker == 0:
        _exec_worker(sys.argv[1:], writer)
    os.close(writer)
    os.close(int(os.environ[ENVIRON_VARIABLE]))  # a job of the same user could read it through /proc
    strays.kill(within_s=_STRAYS_S)  # the worker has just begun to start: no deadline is near
    guard = Guard(worker, reader)
    for signum in _FORWARDED:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup's and the like stay ignored, by the worker too
            signal.signal(signum, guard.forward)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # Ctrl-Z would stop the guard and not the worker
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    with suppress(PermissionError):  # so that a job's hundred busy processes can't hold it up; root only
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    sys.exit(guard.run())


def _take_environ() -> dict[bytes, bytes]:
    """Read the worker's environment from the file that `link.exec_guard` left open. The guard's own says nothing but its number."""
    fd = int(os.environ[ENVIRON_VARIABLE])
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    return dict(entry.partition(b"=")[::2] for entry in data.split(b"\0") if entry)


def _exec_worker(argv: Sequence[str], writer: int) -> NoReturn:
    """Become the worker, in a session of its own: a terminal's Ctrl-C must reach it once, through the guard."""
    try:
        os.setsid()
        os.set_inheritable(writer, True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        environ = {**_take_environ(), PIPE_VARIABLE.encode(): str(writer).encode()}
        os.set_inheritable(int(os.environ[ENVIRON_VARIABLE]), False)
        os.execvpe(argv[0], list(argv), environ)  # noqa: S606 - no shell on purpose
    except OSError as error:
        os.write(2, f"relay work: can't run {argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
