"""Get everything ready that a command needs on this machine, and take it away again.

A working directory, the script's file, the words to execute, a cgroup where there are some. Start errors show here, as far
as they can be known before the spawn. A script is always handed to its interpreter as a file, as the kernel would do it for
a `#!` line: so it also runs where the temporary folder is mounted `noexec`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from relay.process import cgroup, limits, program, scratch, users
from relay.process.program import NOT_EXECUTABLE, StartError

if TYPE_CHECKING:
    from relay.process.command import Command
    from relay.process.users import User


class Launch:
    """One attempt's things: `prepare` makes them, `clear` removes them. `argv[0]` is a name, `program` the file."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._user: User | None = None
        self._folder: scratch.Folder | None = None
        self._script: str | None = None
        self.argv: list[str] = []
        self.program = ""
        self.cwd = ""
        self.cgroup: cgroup.Cgroup | None = None

    def prepare(self) -> None:
        """Make everything ready. Raises StartError, and OSError where the host is in trouble."""
        command = self._command
        user = self._user = _find_user(command.run_as)
        if command.cwd is None:
            self._folder = scratch.take_folder(command.claim_id, user=user)
            self.cwd = self._folder.path
        else:
            self.cwd = command.cwd
        argv = self._script_words(command.script, user) if command.command is None else [command.command]
        argv += command.args
        found = program.resolve(argv[0], command.env.get("PATH", ""), self.cwd, user=user)
        program.check_allowed(found, command.allowed_commands)
        words = limits.wrapper(command.limits, user)
        self.cgroup = cgroup.create(command.claim_id, command.limits)
        if self.cgroup is not None:
            words = self.cgroup.wrapper + words
        if words:
            program.check_format(found)
            argv = [*words, found, *argv[1:]]
            found = words[0]
        self.argv, self.program = argv, found

    async def clear(self) -> None:
        """Remove all that was made; the job's processes are gone. Idempotent."""
        if self.cgroup is not None:
            self.cgroup.remove()
        folder, self._folder = self._folder, None
        script, self._script = self._script, None
        if folder is not None:
            await scratch.give_folder(folder, user=self._user)
        if script is not None:
            await scratch.remove(script)

    def _script_words(self, script: str | None, user: User | None) -> list[str]:
        assert script is not None
        text = script.encode()
        path = self._script = scratch.make_file(f"{self._command.claim_id}.script", text, user=user)
        if not text.startswith(b"#!"):
            return ["/bin/sh", "-eu", path]
        words = program.shebang(text)
        if not os.path.exists(os.path.join(self.cwd, words[0])):  # noqa: PTH110, PTH118 - text in
            raise StartError(NOT_EXECUTABLE, program.bad_interpreter("the script", words[0]))
        return [*words, path]


def _find_user(name: str | None) -> User | None:
    if name is None:
        return None
    try:
        user = users.find_user(name)
    except KeyError:
        raise StartError(NOT_EXECUTABLE, f"this worker's RELAY_RUN_AS names no user: {name}") from None
    return None if user.uid == os.geteuid() else user
