"""The data folder of one `relay dev`: one owner at a time, and what it leaves behind when it is killed.

A file lock says whether an owner lives; the kernel drops it with the process, so a stale one can't exist. A temporary folder
whose owner was killed is removed by the next `relay dev` of the same user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from relay import errors
from relay.config import local
from relay.dev import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

LOCK = "dev.lock"
TEMPORARY = "relay-dev-"


def default(environ: Mapping[str, str]) -> Path:
    """Where the data is without `--data`: in the user's state folder."""
    return local.state_path(environ).parent / "dev"


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """Own the folder (made if it is missing), with nothing of an earlier owner running and with empty logs.

    Raises Conflict when another `relay dev` runs on it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock_file(folder)
    except OSError as error:
        raise errors.BadConfig(f"the data folder {folder} can't be used: {error.strerror}") from None
    with lock:
        if not _is_locked(lock):
            owner = lock.read().strip()
            raise errors.Conflict(
                f"another 'relay dev' (pid {owner or 'unknown'}) runs on {folder}: stop it, or choose another folder with --data"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        leftovers.clean(folder)
        _set_logs_aside(folder)
        yield folder.resolve()


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """Own a fresh folder that is removed at the end."""
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY))
    try:
        with opened(folder) as owned:
            yield owned
    finally:
        _remove(folder)


def _lock_file(folder: Path) -> TextIO:
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "r+", encoding="ascii")


def _is_locked(lock: TextIO) -> bool:
    """Take the lock unless another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _set_logs_aside(folder: Path) -> None:
    """Keep the last run's logs as `logs.old`."""
    logs, old = folder / "logs", folder / "logs.old"
    if logs.exists():
        shutil.rmtree(old, ignore_errors=True)
        logs.rename(old)


def _remove_abandoned() -> None:
    """Remove temporary folders of this user whose owner is gone; one that is just being made has no record yet."""
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError, errors.RelayError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid() or not leftovers.has_record(folder):
                continue
            with opened(folder):
                _remove(folder)


def _remove(folder: Path) -> None:
    for each in leftovers.recorded_folders(folder):
        shutil.rmtree(each, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
