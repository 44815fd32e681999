"""Tell the service manager how a role gets on: sd_notify(3), by hand.

One datagram to the socket that `NOTIFY_SOCKET` names; without it nothing happens. Who sends is judged by the unit's `NotifyAccess`.
`WATCHDOG_PID` is not looked at: it names the guard, which systemd started, and not the worker below it, which feeds the watchdog.
A message waits `_FULL_S` at most for room in the socket and is lost then: what must arrive is sent again by its sender.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FULL_S = 0.1


def is_heard(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was started by a service manager that wants to be told."""
    return environ.get("NOTIFY_SOCKET", "").startswith(("/", "@"))


def tell(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send assignments such as `READY=1` or `STATUS=text` in one message. False: nobody listens, or it could not be sent."""
    if not is_heard(environ):
        return False
    address = environ["NOTIFY_SOCKET"]
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(_FULL_S)
            sender.sendto("\n".join(" ".join(line.split("\n")) for line in lines).encode(), address)
    except OSError:
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """The longest time between two `WATCHDOG=1` that the service manager bears; None: it has no watchdog on this service."""
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() and int(text) and is_heard(environ) else None
