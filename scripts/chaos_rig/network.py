"""A network of the script's own, in which brokers can be cut off from one another.

    enter()                          # first of all: the process goes on in namespaces of its own
    network = Network.create(["b1", "b2", "b3", "store"])
    network.place("b1")              # where to start a process, and its address
    network.drop("b1", "b2")         # packets that b1 sends to b2 are lost
    network.heal()

Rules
- enter() starts the program again in new network, mount and process namespaces. Their addresses exist nowhere else, and
  when the program ends in whatever way, the kernel ends every process in it and removes all.
- Each host has a namespace of its own, joined by a bridge. The program itself is at the bridge, and reaches all.
- Dropped packets leave no trace for either side: connections hang, they are not reset.
- Where this cannot be done, why_not() says so: namespaces need root, or leave to make user namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from attrs import define
from cluster import Place

ENTERED = "PYKBROKER_CHAOS_NETWORK"
PROGRAMS = ("unshare", "nsenter", "ip", "nft", "mount")
SUBNET = "10.99.0"
HUB = f"{SUBNET}.254"
NAMES = "/run/netns"
PROBE_TIMEOUT_S = 20


class NoNetwork(Exception):
    """There can be no namespaces here; the text says why."""


def why_not() -> str:
    """Return why there can be no network of our own here, "" if there can be."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"there is no {', '.join(missing)} here"
    done = subprocess.run(
        [*_unshare(), "sh", "-c", _prepared("nft list ruleset && ip link add probe type bridge")],
        capture_output=True,
        text=True,
        timeout=PROBE_TIMEOUT_S,
        check=False,
    )
    return "" if done.returncode == 0 else f"namespaces cannot be made here: {done.stderr.strip()[-300:]}"


def is_entered() -> bool:
    return ENTERED in os.environ


def enter() -> NoReturn:
    """Start this program again, with the same arguments, in namespaces of its own."""
    command = [*_unshare(), "sh", "-c", _prepared('exec "$@"'), "sh", sys.executable, *sys.argv]
    os.execvpe(command[0], command, {**os.environ, ENTERED: "1"})


def _unshare() -> list[str]:
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _prepared(then: str) -> str:
    """Return a shell line with a place for the names of namespaces that nobody else sees, loopback up, and `then`."""
    return f"mkdir -p {NAMES} && mount -t tmpfs tmpfs {NAMES} && ip link set lo up && {then}"


@define
class Network:
    """Owns the namespaces of the hosts, the bridge, and the rules by which packets are dropped."""

    addresses: Mapping[str, str]

    @classmethod
    def create(cls, hosts: Sequence[str]) -> Network:
        """Make a namespace per host. Raises: NoNetwork where enter() was not called or a command fails."""
        if not is_entered():
            raise NoNetwork("the program is not in a network of its own")
        network = cls({host: f"{SUBNET}.{number}" for number, host in enumerate(hosts, 1)})
        _run("ip", "link", "add", "hub", "type", "bridge")
        _run("ip", "address", "add", f"{HUB}/24", "dev", "hub")
        _run("ip", "link", "set", "hub", "up")
        for host, address in network.addresses.items():
            _run("ip", "netns", "add", host)
            _run("ip", "link", "add", f"to-{host}", "type", "veth", "peer", "name", "eth0", "netns", host)
            _run("ip", "link", "set", f"to-{host}", "master", "hub", "up")
            _run("ip", "-n", host, "address", "add", f"{address}/24", "dev", "eth0")
            _run("ip", "-n", host, "link", "set", "eth0", "up")
            _run("ip", "-n", host, "link", "set", "lo", "up")
            network._clear(host)
        return network

    def place(self, host: str) -> Place:
        """Return where to start a process of this host."""
        return Place(self.addresses[host], ("nsenter", f"--net={NAMES}/{host}"))

    def drop(self, sender: str, receiver: str) -> None:
        """Lose what one host sends another from now on."""
        self._rule(receiver, f"ip saddr {self.addresses[sender]} drop")

    def isolate(self, host: str) -> None:
        """Lose everything that is sent to this host, and all that it sends."""
        self._rule(host, 'iifname "eth0" drop')
        self._rule(host, 'oifname "eth0" drop', chain="output")

    def heal(self) -> None:
        """Let all packets pass again."""
        for host in self.addresses:
            self._clear(host)

    def _clear(self, host: str) -> None:
        chains = "; ".join(
            f"add chain inet chaos {hook} {{ type filter hook {hook} priority 0; }}" for hook in ("input", "output")
        )
        self._nft(host, f"add table inet chaos; delete table inet chaos; add table inet chaos; {chains}")

    def _rule(self, host: str, rule: str, *, chain: str = "input") -> None:
        self._nft(host, f"add rule inet chaos {chain} {rule}")

    def _nft(self, host: str, text: str) -> None:
        _run("nsenter", f"--net={NAMES}/{host}", "nft", text)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoNetwork(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
