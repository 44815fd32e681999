"""However much jobs print, and though nobody takes it, the process that runs them stays small."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("jobs", "megabytes"), [(1, 50), (64, 10)])
def test_a_flood_of_output_costs_no_memory(jobs: int, megabytes: int) -> None:
    command = [sys.executable, "-m", "tests.integration.flooded", str(jobs), str(megabytes << 20)]
    ended = subprocess.run(command, check=True, capture_output=True, timeout=100)
    assert int(ended.stdout) < 120 << 20
