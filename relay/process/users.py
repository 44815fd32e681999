"""The user that jobs run as: looked up once, and what that user may execute.

`RELAY_RUN_AS` goes through `setpriv` (util-linux): `subprocess`'s own `user=` turns vfork off, which costs 12.7 ms a spawn
in a worker of 300 MB, `setpriv` 1.8 ms.
"""

from __future__ import annotations

import functools
import os
import pwd
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine, with all groups."""

    name: str
    uid: int
    gid: int
    home: str
    groups: frozenset[int]

    def may_execute(self, path: str) -> bool:
        """Whether mode bits let this user execute the file and reach it. Raises OSError if it is gone."""
        if self.uid == 0:
            return os.access(path, os.X_OK)
        return all(self._has_x(str(place)) for place in (path, *PurePosixPath(os.path.realpath(path)).parents))

    def _has_x(self, path: str) -> bool:
        facts = os.stat(path)  # noqa: PTH116 - text in
        if facts.st_uid == self.uid:
            return bool(facts.st_mode & 0o100)
        if facts.st_gid in self.groups:
            return bool(facts.st_mode & 0o010)
        return bool(facts.st_mode & 0o001)


@functools.lru_cache(maxsize=16)
def find_user(name: str) -> User:
    """Look a user up, by name or decimal id. Raises KeyError if there is none."""
    entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, groups)


@functools.cache
def own_home() -> str:
    """Give the home of the user that this process runs as; `/` for a user id without an entry (as in some containers)."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def home_of(name: str | None) -> str:
    """Give a user's home; None: that of the user this process runs as. `/` where there is no such user."""
    if name is None:
        return own_home()
    try:
        return find_user(name).home
    except KeyError:
        return "/"
