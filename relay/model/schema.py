"""The words that the JSON Schema of a spec has beyond what pydantic knows: what each key is for.

They stand here and not beside the fields, since the fields' types are read by people who change the checks and these
texts by people who write specs. Defaults are shown as one would write them (`1h`, `10M`), and a key that may be left out
shows no null. A test compares the keys with the models, so none can be forgotten.
"""

from __future__ import annotations

from typing import Any

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "JobSpec": {
        "type": "The executor; in any case.",
        "payload": "What to run.",
        "name": "Shown in lists; by default the command's base name.",
        "queue": "Which workers may run it.",
        "priority": "high before normal before low, per worker, without preemption.",
        "max_retries": "Retries after the first attempt.",
        "backoff": "The delay before a retry; a word stands for that strategy with its defaults.",
        "no_retry_codes": "Exit codes that make the job DEAD at once.",
        "on_worker_lost": "retry: run again (at least once, uses a retry); fail: DEAD with reason worker_lost (at most once).",
        "run_at": "Not before this time; excludes 'delay'.",
        "delay": "Not before this long after the submit (in a chain's child: after the parent's end).",
        "expires_at": "No first start by then: DEAD with reason expired.",
        "labels": "For filters.",
        "lock": "Of all jobs with this lock at most one runs, in the whole cluster.",
        "on_success": "A job, or a list, created when this one completes; nests to depth 32, 1,000 jobs in all.",
        "on_failure": "Likewise each time this one goes DEAD, for any reason.",
        "idempotency_key": "The same key and spec again answer the first job; another spec is refused. Not in a child.",
    },
    "Payload": {
        "command": "A program, found on the job's PATH; no shell is put between. Excludes 'script'.",
        "script": "A script's text in place of 'command'; its #! line is honoured, by default /bin/sh -eu.",
        "args": "Arguments of the command or script.",
        "env": "Added to the job's environment; names must not begin with RELAY_.",
        "cwd": "An absolute path; by default a fresh private directory for each attempt.",
        "stdin": 'Text, or {"from": "parent.stdout"} in a chain\'s child; by default empty.',
        "timeout": "Per attempt; 0 for none. Then SIGTERM to all its processes, and SIGKILL after kill_grace.",
        "kill_grace": "The time from SIGTERM to SIGKILL.",
        "success_codes": "Exit codes that are success.",
        "limits": "What an attempt may use.",
    },
    "Limits": {
        "memory": "Of all the attempt's processes together.",
        "processes": "How many processes there may be at once.",
        "cpu_time": "Per process.",
        "open_files": "Per process.",
        "output": "Kept per stream, first and last half; at most 1G. Never fails a job.",
    },
    "Backoff": {
        "strategy": "Before retry n: initial * factor^(n-1), initial * n, or initial.",
        "initial": "The first delay.",
        "factor": "What an exponential delay grows by.",
        "max": "No delay is longer.",
        "jitter": "Draw from the top half of the delay.",
    },
}
_DEFAULTS: dict[tuple[str, str], object] = {
    ("JobSpec", "backoff"): "exponential",
    ("Payload", "timeout"): "1h",
    ("Payload", "kill_grace"): "10s",
    ("Payload", "limits"): {},
    ("Limits", "output"): "10M",
    ("Backoff", "initial"): "1s",
    ("Backoff", "max"): "1h",
}
_TITLES = {"JobSpec": "A job to run.", "Payload": "Needs exactly one of 'command' and 'script'."}


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema (changed in place) with its keys described and its defaults as one would write them."""
    for model, keys in DESCRIPTIONS.items():
        part = schema["$defs"][model]
        part["description"] = _TITLES.get(model, f"The '{model.lower()}' of a spec.")
        for key, text in keys.items():
            _describe(part["properties"][key], text)
            if (model, key) in _DEFAULTS:
                part["properties"][key]["default"] = _DEFAULTS[model, key]
    return schema


def _describe(key: dict[str, Any], text: str) -> None:
    """Describe one key; a default of null says no more than that the key may be left out."""
    form = key.get("description")
    key["description"] = f"{text} {form}" if form else text
    key.pop("title", None)
    if key.get("default", ...) is None:
        del key["default"]
