"""Adopting orphans: a subreaper is what init is to all others, for the processes below it."""

from __future__ import annotations

import os

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Let orphaned descendants become this process's children. Survives exec, is not inherited by children; see prctl(2).

    Raises OSError.
    """
    import ctypes  # noqa: PLC0415 - a megabyte that most importers of this module never need

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
