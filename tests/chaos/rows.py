"""What must happen under each fault, and which test shows it: the README's table "What happens when …" is made from this.

`measured` names the faults of `tests.chaos.faults` whose figures in the last recorded runs (`report.json`) belong to a row. A test
compares the names of tests with the files, so that no row is without one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("report.json")
FAULTS, STORES, MACHINE, NASTY = ("test_faults", "test_store_faults", "test_machine_faults", "test_nasty_jobs")


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault: what is done, what happens then, and the tests by file."""

    fault: str
    outcome: str
    file: str
    tests: tuple[str, ...]
    measured: tuple[str, ...] = ()


ROWS = (
    Row(
        "a worker is killed (`kill -9`) while jobs run",
        "its guard kills their whole process trees; the attempts are `lost`, and run again as soon as a worker starts on that host",
        FAULTS,
        ("test_a_killed_workers_trees_are_gone_in_a_second_and_its_jobs_run_again_in_five",),
        ("kill_worker",),
    ),
    Row(
        "a worker is killed between claim and start, or between end and record",
        "it runs again, and is recorded once",
        FAULTS,
        ("test_a_worker_killed_at_an_exact_place_loses_and_doubles_nothing",),
    ),
    Row(
        "worker and guard are killed together",
        "the next worker on that host kills what they left, then the jobs run again",
        FAULTS,
        (
            "test_what_outlives_worker_and_guard_is_swept_before_it_runs_again",
            "test_what_outlives_worker_and_guard_is_swept_also_after_others_have_rescued_its_jobs",
        ),
        ("kill_both",),
    ),
    Row(
        "a guard is killed",
        "its worker kills its jobs at once and exits",
        FAULTS,
        ("test_a_killed_guard_ends_the_worker_and_its_jobs_at_once",),
        ("kill_guard",),
    ),
    Row(
        "a host is gone",
        "its jobs run elsewhere after a lease's time of silence",
        FAULTS,
        ("test_a_lost_hosts_jobs_run_elsewhere_within_twenty_seconds",),
        ("lose_host",),
    ),
    Row(
        "a worker is stopped, or its event loop stands still",
        "its guard kills the jobs at their deadline, before they run again; a late result gets no row and is counted",
        FAULTS,
        (
            "test_a_stopped_workers_jobs_are_dead_before_they_run_again",
            "test_a_worker_stopped_between_its_check_and_its_fork_starts_nothing",
            "test_a_late_finish_is_fenced_and_noted",
            "test_a_blocked_event_loop_is_as_a_stopped_worker_and_works_again_afterwards",
        ),
        ("stop_worker",),
    ),
    Row(
        "a worker's heartbeats fail",
        "the job runs on under its lock; without Redis too it is killed at its deadline",
        STORES,
        (
            "test_a_job_whose_heartbeats_fail_runs_on_under_its_lock",
            "test_a_worker_cut_off_from_all_stores_kills_its_jobs_at_their_deadline",
        ),
        ("cut_postgres",),
    ),
    Row(
        "Redis is down, frozen, emptied every second, or replaced",
        "jobs go on and start under PostgreSQL's exclusion alone; `/readyz` says degraded; rescue waits",
        STORES,
        (
            "test_jobs_complete_while_redis_is_down_and_readyz_says_so",
            "test_nothing_is_lost_or_overlaps_while_redis_forgets_all_each_second",
            "test_a_redis_that_never_answers_or_is_replaced_delays_only",
        ),
        ("restart_redis", "stop_redis", "flush_redis", "cut_redis"),
    ),
    Row(
        "Kafka is down, restarted, wiped, or read again from its beginning",
        "workers steal from PostgreSQL; no second execution; consumers come back by themselves",
        STORES,
        (
            "test_jobs_complete_while_kafka_is_down_and_when_it_is_back_without_its_data",
            "test_kafka_killed_and_restarted_under_load_costs_no_second_execution",
            "test_offsets_reset_to_the_earliest_cost_no_second_execution",
        ),
        ("restart_kafka", "wipe_kafka", "cut_kafka"),
    ),
    Row(
        "PostgreSQL restarts, or is away for a while",
        "submits get 503 with Retry-After; results are kept and retried; nothing accepted is lost, nothing is rescued within a lease of its return",
        STORES,
        ("test_a_restart_loses_nothing_accepted_and_rescues_nothing",),
        ("restart_postgres",),
    ),
    Row(
        "a connection is cut at COMMIT of a submit, claim or finish",
        "exactly one row each; the same Idempotency-Key returns the same job",
        STORES,
        ("test_a_lost_answer_to_a_commit_leaves_exactly_one_row",),
        ("lose_commit", "cut_midway"),
    ),
    Row(
        "an API node is killed after its commit",
        "the job starts; the client's retry gets the same job",
        FAULTS,
        ("test_an_api_killed_after_its_commit_has_accepted_the_job_once",),
        ("kill_serve",),
    ),
    Row(
        "the network loses one direction between a worker and one store, or all",
        "from one store: no attempt is lost; from all: its jobs are dead before they run elsewhere; connections recover by themselves",
        MACHINE,
        (
            "test_a_one_way_cut_from_one_store_costs_no_attempt_and_heals_by_itself",
            "test_a_worker_cut_off_from_all_stores_one_way_kills_its_jobs_before_they_run_again",
        ),
    ),
    Row(
        "a wall clock is an hour off, and jumps",
        "nothing: no lease and no rescue looks at it",
        MACHINE,
        ("test_wall_clocks_that_are_an_hour_off_and_jump_change_nothing",),
    ),
    Row(
        "a worker's disk is full",
        "the job goes on, its output is marked as truncated",
        NASTY,
        ("test_a_full_disk_costs_output_and_no_job",),
    ),
    Row(
        "PostgreSQL's disk is full",
        "503 with Retry-After; nothing is accepted by half",
        MACHINE,
        ("test_a_full_disk_under_postgresql_refuses_jobs_and_accepts_none_by_half",),
    ),
    Row(
        "workers join and leave all the time; everything is restarted in turn",
        "work goes on, and no client that repeats with its key sees an error",
        FAULTS,
        (
            "test_workers_that_join_and_leave_all_the_time_stop_nothing",
            "test_a_rolling_restart_under_load_costs_no_client_an_answer_and_no_job_an_attempt",
        ),
    ),
    Row(
        "a worker is told to stop (SIGTERM) while long jobs run",
        "after the drain they are ended and handed back: `released`, no retry used",
        FAULTS,
        ("test_a_drain_hands_back_what_takes_too_long",),
        ("drain_worker",),
    ),
    Row(
        "several API nodes and workers, maintenance in each",
        "nothing is done twice",
        FAULTS,
        ("test_three_servers_with_their_maintenance_and_three_workers_double_nothing",),
    ),
    Row(
        "jobs fork bombs, print gigabytes, ignore TERM, leave daemons, delete their folder",
        "that attempt ends as its spec says; the worker stays small, and other jobs run on",
        NASTY,
        ("test_nasty_jobs_end_as_they_should_and_hurt_nobody", "test_all_bytes_come_back_as_they_were_written"),
    ),
)


def table() -> str:
    """Markdown: what the recorded runs were, and a line for each row with what they have measured."""
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    lines = [_about(name, recorded[name]) for name in ("kills", "mixed") if name in recorded]
    lines += ["", "| when | then | measured |", "|---|---|---|"]
    lines += [f"| {row.fault} | {row.outcome} | {_measured(row, recorded)} |" for row in ROWS]
    return "\n".join(lines)


def _about(name: str, run: dict[str, Any]) -> str:
    words = {"kills": "Run of kills", "mixed": "Mixed run"}
    faults, broken = sum(run["faults"].values()), len(run["violations"])
    held = "every invariant held" if not broken else f"**{broken} invariants did not hold**"
    return (
        f"- {words[name]}: {run['minutes']:.0f} min, seed {run['seed']}, lease {run['ttl_s']:g} s, {sum(run['jobs'].values())} jobs, "
        f"{sum(run['attempts'].values())} attempts, {faults} faults, {run['kills']} workers killed while they ran jobs; {held}."
    )


def _measured(row: Row, recorded: dict[str, Any]) -> str:
    """The figures of a row's faults: after deaths when jobs run again, after others when jobs start again."""
    return "<br>".join(found for fault in row.measured if (found := _figures(fault, recorded)))


def _figures(fault: str, recorded: dict[str, Any]) -> str:
    name = fault.replace("_", " ")
    for run in (recorded[key] for key in ("kills", "mixed") if key in recorded):
        if fault in run["recoveries"]:
            gone = f", trees gone {_spread(run['gone'][fault])}" if fault in run["gone"] else ""
            return f"{name}: runs again after {_spread(run['recoveries'][fault])}{gone}"
        if fault in run["resumed"]:
            return f"{name}: jobs start {_spread(run['resumed'][fault])} after it is over"
    return ""


def _spread(spread: dict[str, Any]) -> str:
    return f"{spread['p50']:.1f} / {spread['p95']:.1f} / {spread['max']:.1f} s ({spread['count']})"
