"""Find the program that a job names, and say plainly why it can't be started.

Done here, before the spawn, because a wrapper (`setpriv`, `prlimit`) would start even if the program could not, and would
blur 127 and 126. What only `exec` knows (an interpreter that is missing, a foreign binary format) is explained afterwards.
The check for another user reads mode bits only: where access lists or a security module forbid more, the wrapper's own
message is in the job's stderr, and its exit code is 126.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.process.users import User

NOT_FOUND, NOT_EXECUTABLE = 127, 126
HOST_ERRORS = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO))
_MAX_SHEBANG = 255


class StartError(Exception):
    """The command can't be started: `code` is 127 (not found) or 126, the text is for the job's owner."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


def resolve(command: str, path: str, cwd: str, *, user: User | None = None) -> str:
    """Give the absolute path of the file to execute: `command` itself if it has a slash, else searched in `path`.

    Relative ones count from `cwd`. Raises StartError.
    """
    if "/" in command:
        candidates = [f"{cwd}/{command}" if command[0] != "/" else command]
    else:
        candidates = [
            f"{folder}/{command}" if folder[:1] == "/" else f"{cwd}/{folder}/{command}" for folder in path.split(":")
        ]
    for (
        candidate
    ) in candidates:  # the usual way, without an exception per folder; the other one finds out what is wrong
        if user is None and os.access(candidate, os.X_OK) and os.path.isfile(candidate):  # noqa: PTH113
            return candidate
    return _resolve_slowly(command, path, candidates, user)


def _resolve_slowly(command: str, path: str, candidates: Sequence[str], user: User | None) -> str:
    found = None
    for candidate in candidates:
        reason = _why_not(candidate, user)
        if reason is None:
            return candidate
        if reason != errno.ENOENT:
            found = found or StartError(NOT_EXECUTABLE, f"cannot execute {candidate}: {os.strerror(reason)}")
    where = f"no such file: {command}" if "/" in command else f"{command} is not on the job's PATH ({path})"
    raise found or StartError(NOT_FOUND, f"command not found: {where}")


def _why_not(path: str, user: User | None) -> int | None:
    """Give the errno that executing it would end with; None if it looks executable."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return errno.ENOENT
    except OSError as error:
        return error.errno or errno.EACCES
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    if not stat.S_ISREG(mode):
        return errno.EACCES
    may = os.access(path, os.X_OK) if user is None else user.may_execute(path)
    return None if may else errno.EACCES


def check_allowed(program: str, patterns: Sequence[str]) -> None:
    """Raise StartError unless the program's path, and where that leads through symbolic links, both match one pattern.

    Patterns are globs over whole absolute paths, in which `*` does not match a slash; a pattern's own symbolic links count
    too, so `/bin/true` allows what it names where `/bin` is a link. No patterns: everything is allowed.
    """
    if not patterns:
        return
    path, real = os.path.normpath(program), os.path.realpath(program)
    for pattern in patterns:
        folder, _, name = pattern.rpartition("/")
        in_real_folder = f"{os.path.realpath(folder or '/').rstrip('/')}/{name}"
        if _matches(path, {pattern, in_real_folder}) and _matches(real, {pattern, os.path.realpath(pattern)}):
            return
    raise StartError(NOT_EXECUTABLE, f"this worker does not allow {real} (RELAY_ALLOWED_COMMANDS)")


def _matches(path: str, patterns: set[str]) -> bool:
    return any(pattern.startswith("/") and PurePosixPath(path).match(pattern) for pattern in patterns)


def check_format(program: str) -> None:
    """Raise StartError if `exec` would refuse the file: what a wrapper would run by `/bin/sh`, or fail at by itself."""
    try:
        with open(program, "rb") as file:  # noqa: PTH123
            head = file.read(_MAX_SHEBANG)
    except OSError:
        return  # executable but not readable: exec will tell
    if head.startswith(b"#!"):
        interpreter = shebang(head)[0]
        if not os.access(interpreter, os.X_OK):
            raise StartError(NOT_EXECUTABLE, bad_interpreter(program, interpreter))
    elif b"\0" not in head:
        raise StartError(NOT_EXECUTABLE, f"cannot execute {program}: {os.strerror(errno.ENOEXEC)} (no '#!' line?)")


def shebang(head: bytes) -> list[str]:
    """Read a `#!` line as the kernel does: the interpreter, and the rest as one argument if there is any."""
    line = head[2:].split(b"\n", 1)[0][:_MAX_SHEBANG].strip(b" \t")
    return [
        os.fsdecode(word.strip(b" \t")) for word in line.replace(b"\t", b" ").split(b" ", 1) if word.strip(b" \t")
    ] or [""]


def explain(error: OSError, program: str, cwd: str) -> StartError:
    """Say what a failed spawn means; the caller has sorted out the host's own troubles (`HOST_ERRORS`)."""
    if error.errno == errno.E2BIG:
        return StartError(NOT_EXECUTABLE, "arguments and environment are too long for this system")
    if error.filename in (cwd, os.fsencode(cwd)) and not os.access(cwd, os.X_OK):
        return StartError(NOT_EXECUTABLE, f"cannot enter the working directory {cwd}: {error.strerror}")
    if error.errno == errno.ENOENT and os.path.exists(program):  # noqa: PTH110
        with open(program, "rb") as file:  # noqa: PTH123
            head = file.read(_MAX_SHEBANG)
        missing = shebang(head)[0] if head.startswith(b"#!") else "its loader"
        return StartError(NOT_EXECUTABLE, bad_interpreter(program, missing))
    hint = " (no '#!' line, or another machine's binary)" if error.errno == errno.ENOEXEC else ""
    code = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
    return StartError(code, f"cannot execute {program}: {error.strerror}{hint}")


def bad_interpreter(program: str, interpreter: str) -> str:
    """Say that the interpreter in a `#!` line is the trouble."""
    hint = " (the line ends in CR LF)" if interpreter.endswith("\r") else ""
    return f"cannot execute {program}: its interpreter {interpreter.rstrip()!r} is missing or not executable{hint}"
