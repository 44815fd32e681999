"""A real PostgreSQL from a wheel: its binaries, started by hand.

The wheel's own helper opens up the permissions of parent folders when it runs as root, so it isn't used. PostgreSQL refuses to run
as root: there it starts in a user namespace that maps another id onto root, so that its files stay root's own. Where user
namespaces are blocked it runs as the user `postgres` or `nobody`, in a folder of that user; nobody else's permissions change.
It listens on loopback only and asks for a password: other users of the machine are not the operator.

With `is_durable` off nothing is synced to disk: fast, and right only for what is thrown away afterwards.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from relay import errors
from relay.dev import child, ports, wheels
from relay.dev.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

USER = "relay"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
OPTIONS = {
    "listen_addresses": ports.HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "logging_collector": "off",
    "timezone": "UTC",
}
UNSYNCED = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Account:
    """As whom PostgreSQL runs: the words before its command line, its user id (None: ours), its own folder."""

    before: tuple[str, ...]
    uid: int | None
    folder: Path


@dataclass(slots=True, kw_only=True)
class Postgres(Server):
    """A running PostgreSQL; `folder` holds its data and its password. It stops fast: connections are cut, commits are kept."""

    folder: Path
    password: str = field(repr=False)
    stop_signal: signal.Signals = signal.SIGINT
    stop_s: float = 15.0

    def dsn(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{USER}:{self.password}@{self.address}/{database}"

    async def is_ready(self) -> bool:
        """Whether it takes connections."""
        try:
            connection = await asyncpg.connect(self.dsn("postgres"), timeout=2)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True

    async def kill(self) -> None:
        """End it at once, together with its own children; it recovers from its log at the next start."""
        await self.child.stop(signal.SIGQUIT, grace_s=5.0)


def start(folder: Path, *, log: Path, is_durable: bool) -> Postgres:
    """Start PostgreSQL with its data in `folder`, made if it is missing. Wait for `ready` before use."""
    programs = wheels.postgres_programs()
    account = account_for(folder, programs)
    data = account.folder / "data"
    if not (data / "PG_VERSION").exists():
        _create(account, programs)
    port = ports.free_port()
    options = {**OPTIONS, "port": str(port), **({} if is_durable else UNSYNCED)}
    argv = [str(programs / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in options.items())]

    def launch() -> child.Child:
        return child.spawn(
            "PostgreSQL",
            argv,
            cwd=account.folder,
            log=log,
            env=ENVIRONMENT,
            death_signal=signal.SIGINT,
            before=account.before,
        )

    password = (account.folder / "password").read_text()
    return Postgres(launch=launch, port=port, folder=account.folder, password=password)


def account_for(folder: Path, programs: Path) -> Account:
    """As whom PostgreSQL can run here. Raises BadConfig when root has no way to."""
    if os.geteuid() != 0:
        return Account((), None, folder)
    namespace = ("unshare", "--user", "--map-user=1000")
    if _works([*namespace, "true"]):
        return Account(namespace, None, folder)
    user = next((user for user in pwd.getpwall() if user.pw_name in {"postgres", "nobody"}), None)
    if user is None:
        raise errors.BadConfig("PostgreSQL can't run as root: run 'relay dev' as another user")
    before = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    if not _works([*before, str(programs / "postgres"), "--version"]):
        raise errors.BadConfig(f"user {user.pw_name} can't reach {programs}: run 'relay dev' as a user other than root")
    if not _works([*before, "test", "-x", str(folder.parent)]):
        folder = Path("/var/lib") / f"relay-dev-{hashlib.sha256(bytes(folder)).hexdigest()[:16]}"
    return Account(before, user.pw_uid, folder)


def _works(argv: Sequence[str]) -> bool:
    if shutil.which(argv[0]) is None:
        return False
    return subprocess.run(argv, check=False, capture_output=True, cwd="/").returncode == 0


def _create(account: Account, programs: Path) -> None:
    """Make the data folder. One left half made by an interrupted start is made anew: it never held data."""
    shutil.rmtree(account.folder, ignore_errors=True)
    account.folder.mkdir(mode=0o700)
    password = account.folder / "password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_hex(24))
    if account.uid is not None:
        os.chown(account.folder, account.uid, -1)
        os.chown(password, account.uid, -1)
    fresh = account.folder / "fresh"
    argv = [*account.before, str(programs / "initdb"), "-D", str(fresh), "-U", USER, "--pwfile", str(password)]
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    made = subprocess.run(
        argv, check=False, capture_output=True, text=True, cwd=account.folder, env=ENVIRONMENT, start_new_session=True
    )
    if made.returncode != 0:
        raise errors.BadConfig(f"PostgreSQL's data could not be made: {made.stderr.strip()}")
    os.sync()
    fresh.rename(account.folder / "data")
