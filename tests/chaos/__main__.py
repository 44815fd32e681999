"""`python -m tests.chaos --minutes 30 --seed 7`: a mixed chaos run; its report on stdout, exit code 1 if an invariant did not hold."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos import faults, rows, run


def main() -> int:
    """Run, report, and keep the logs where something did not hold."""
    given = _arguments()
    seed = given.seed if given.seed is not None else random.randrange(1_000_000)
    folder = Path(given.folder or tempfile.mkdtemp(prefix="relay-chaos-"))
    sys.stderr.write(f"seed {seed}; logs in {folder}\n")
    plan = run.Plan(
        folder,
        seed,
        given.minutes,
        given.kills,
        stack=given.stack,
        faults=given.fault,
        per_s=given.per_second,
        ttl_s=given.ttl,
        serves=given.serves,
        works=given.works,
    )
    report = asyncio.run(run.run(plan))
    print(report)
    if given.record:
        report.record(Path(given.record), "kills" if given.kills else "mixed")
    if not report.violations and not given.folder:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument(
        "--kills", type=int, default=0, help="instead: kill so many workers that run jobs, nothing else"
    )
    parser.add_argument("--seed", type=int, help="replays a run's jobs and faults (default: a new one, printed)")
    parser.add_argument("--fault", action="append", default=[], choices=sorted(faults.FAULTS), help="only these")
    parser.add_argument("--stack", choices=("embedded", "apache"), default="embedded")
    parser.add_argument("--ttl", type=float, default=6.0, help="the lease's TTL in seconds")
    parser.add_argument("--per-second", type=float, default=8.0, help="jobs submitted a second")
    parser.add_argument("--serves", type=int, default=2)
    parser.add_argument("--works", type=int, default=3)
    parser.add_argument("--folder", help="where stores and logs go, and stay")
    parser.add_argument(
        "--record", nargs="?", const=rows.RECORD, help="keep the report for the README (or in this file)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
