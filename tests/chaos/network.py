"""A network namespace for one worker, whose way to each store can be cut in one direction.

A veth pair joins it to the machine, with an address per store on both ends. A cut gives the neighbour of one of these a wrong MAC
address: its packets leave, and nobody takes them, without an error, as on a broken switch. So connections stall as they do in a real
network, kernel timers and all, which no proxy can play: a proxy acknowledges what it holds back.

Needs root and iproute2's `ip`; `why_not` says what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

STORES = ("postgres", "redis", "kafka")
WAYS = ("up", "down")
"""From the worker to the store, and back."""
_NOBODY = "02:00:00:00:00:01"


@dataclass(frozen=True, slots=True)
class Network:
    """The namespace, its two interfaces and their MAC addresses; addresses are `net`.1 … for stores, `net`.11 … for the worker."""

    name: str
    outer: str
    inner: str
    net: str
    outer_mac: str
    inner_mac: str

    @property
    def before(self) -> tuple[str, ...]:
        """The words before a command that is to run in it."""
        return ("ip", "netns", "exec", self.name)

    def host(self, store: str) -> str:
        """The address at which the worker must reach this store."""
        return f"{self.net}.{1 + STORES.index(store)}"

    @contextlib.asynccontextmanager
    async def cut(self, stores: Collection[str], way: str) -> AsyncIterator[None]:
        """Lose all packets from the worker to these stores (`up`), or from them to the worker (`down`), for a block."""
        for store in stores:
            await self._set_neighbour(store, way, _NOBODY)
        try:
            yield
        finally:
            for store in stores:
                await self._set_neighbour(store, way, self.outer_mac if way == "up" else self.inner_mac)

    async def join(self, store: str) -> None:
        """Give a store its addresses on both ends, and the worker a route between these."""
        host, own = self.host(store), self._own(store)
        await _ip("addr", "add", f"{host}/24", "dev", self.outer)
        await _ip("-n", self.name, "addr", "add", f"{own}/24", "dev", self.inner)
        await _ip("-n", self.name, "route", "add", f"{host}/32", "dev", self.inner, "src", own)
        for way in WAYS:
            await self._set_neighbour(store, way, self.outer_mac if way == "up" else self.inner_mac)

    def _own(self, store: str) -> str:
        return f"{self.net}.{11 + STORES.index(store)}"

    async def _set_neighbour(self, store: str, way: str, mac: str) -> None:
        if way == "up":
            words = ["-n", self.name, "neigh", "replace", self.host(store), "dev", self.inner]
        else:
            words = ["neigh", "replace", self._own(store), "dev", self.outer]
        await _ip(*words, "lladdr", mac, "nud", "permanent")


def why_not() -> str:
    """Why there can't be one here; empty: there can."""
    if os.geteuid() != 0:
        return "a network namespace that reaches this machine's stores needs root"
    probe = f"relay-probe-{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "needs iproute2"
    if made.returncode != 0:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=False)
    return ""


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """Make one for a block; what runs in it must have ended by the block's end."""
    own = os.getpid() % 65536
    name, outer, inner = f"relay-{own}", f"rlo{own}", f"rli{own}"
    await _ip("netns", "add", name)
    try:
        await _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        macs = [await _mac("link", "show", outer), await _mac("-n", name, "link", "show", inner)]
        made = Network(name, outer, inner, f"198.18.{own % 256}", *macs)  # a net for tests of networks: RFC 2544
        await _ip("link", "set", outer, "up")
        for device in ("lo", inner):
            await _ip("-n", name, "link", "set", device, "up")
        for store in STORES:
            await made.join(store)
        yield made
    finally:
        await _ip("netns", "del", name)  # and with it both interfaces


async def _mac(*words: str) -> str:
    (link,) = json.loads(await _ip("-j", *words))
    return str(link["address"])


async def _ip(*words: str) -> str:
    done = await asyncio.to_thread(subprocess.run, ["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout
