"""The yardstick: two bare Python processes that do nothing but spawn `/bin/true`, the fastest way Python knows.

`subprocess.Popen` (vfork), own pipes read through a selector, exits seen through pidfds: no queue, no store, no record.
Run as a module it spawns `COUNT` commands, `CONCURRENCY` at once, and prints the seconds that took.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time

CONCURRENCY = 16


def spawn_all(count: int) -> float:
    """Spawn `count` times /bin/true with captured output; return the seconds it took."""
    selector = selectors.DefaultSelector()
    began = time.perf_counter()
    started = ended = 0
    while ended < count:
        while started < count and started - ended < CONCURRENCY:
            _spawn(selector)
            started += 1
        for key, _ in selector.select():
            ended += _on_ready(selector, key)
    return time.perf_counter() - began


def _spawn(selector: selectors.DefaultSelector) -> None:
    out_r, out_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    err_r, err_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    child = subprocess.Popen(
        ["/bin/true"], stdin=subprocess.DEVNULL, stdout=out_w, stderr=err_w, start_new_session=True
    )
    os.close(out_w)
    os.close(err_w)
    selector.register(out_r, selectors.EVENT_READ)
    selector.register(err_r, selectors.EVENT_READ)
    selector.register(os.pidfd_open(child.pid), selectors.EVENT_READ, child)


def _on_ready(selector: selectors.DefaultSelector, key: selectors.SelectorKey) -> int:
    if key.data is None:
        if os.read(key.fd, 65536):
            return 0
    else:
        key.data.wait()
    selector.unregister(key.fd)
    os.close(key.fd)
    return 0 if key.data is None else 1


def rate_of_two(count: int) -> float:
    """Commands per second of two such processes at once."""
    command = [sys.executable, "-m", "tests.bench.spawners", str(count)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    seconds = [float(child.communicate()[0]) for child in children]
    return 2 * count / max(seconds)


if __name__ == "__main__":
    sys.stdout.write(f"{spawn_all(int(sys.argv[1]))}\n")
