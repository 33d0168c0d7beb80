"""Do the steps of a plan to a cluster, and note how long each lasted and whom it hit.

Rules: a step ends healed: what was killed is started, what was frozen thawed, what was cut joined. Unless it overlaps
    the next one, it also ends with all replicas in sync, and its window of measurement a little later. A broker that
    ends when nobody asked it to ends the run.
Not here: which steps (faults.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from attrs import define, field
from clients import Unavailable
from cluster import Cluster

from chaos_rig.events import Events
from chaos_rig.faults import Cut, Kind, Step
from chaos_rig.gaps import Measured
from chaos_rig.network import Network

STORE = "store"
AFTERMATH_S = 1.0
JVM_STATUS = 143  # of a JVM that SIGTERM stopped cleanly
LEADERS_TIMEOUT_S = 60.0


class Hurt(Exception):
    """The cluster did not come back from a fault; the text says how it is."""


@define
class Injector:
    """Owns the list of what was measured. `hosts` names the brokers in `network`."""

    cluster: Cluster
    topic: str
    events: Events
    network: Network | None = None
    hosts: Mapping[int, str] = field(factory=dict)
    rebalance: Callable[[], None] = lambda: None
    measured: list[Measured] = field(factory=list)
    _is_settled: bool = True

    def run(self, step: Step) -> None:
        """Do one step. Raises: Hurt."""
        brokers = self._brokers(step)
        self.events.write(
            str(step.name),
            step=step.number,
            brokers=brokers,
            hold_s=round(step.hold_s, 2),
            overlapping=step.overlapping,
        )
        try:
            if step.kind is Kind.BOUNCE:
                self._in_sync()
                self._bounce(step, brokers[0])
            else:
                self._hurt_and_heal(step, brokers)
        except Unavailable as error:
            raise Hurt(f"after step {step.number} ({step.name} of {brokers}): {error}") from error
        if ended := [node.id for node in self.cluster.nodes if not node.runs]:
            raise Hurt(f"broker(s) {ended} ended by themselves during step {step.number} ({step.name} of {brokers})")
        if not step.overlapping:
            time.sleep(step.pause_s)

    def settle(self) -> None:
        """Heal whatever is still hurt, and wait until all replicas are in sync. Raises: Hurt."""
        try:
            if self.network is not None:
                self.network.heal()
            for node in self.cluster.nodes:
                if node.is_frozen:
                    self.cluster.thaw(node.id)
                if not node.runs:
                    self.cluster.launch(node.id)
            self.cluster.wait_ready()
            self.cluster.wait_in_sync([self.topic])
        except Unavailable as error:
            raise Hurt(str(error)) from error

    def _hurt_and_heal(self, step: Step, brokers: Sequence[int]) -> None:
        led = self._led_by(brokers[0])
        started = time.monotonic()
        for broker in brokers:
            self._hurt(step, broker)
        time.sleep(step.hold_s)
        self._heal(step, brokers)
        self.events.write("healed", quiet=True, step=step.number)
        if step.overlapping:
            self._is_settled = False
            return
        was_settled = self._is_settled
        self._in_sync()
        self._measure(step.name, started, led if was_settled else ())

    def _bounce(self, step: Step, first: int) -> None:
        ids = [node.id for node in self.cluster.nodes]
        at = ids.index(first)
        for broker in ids[at:] + ids[:at]:
            led = self._led_by(broker)
            started = time.monotonic()
            self._stop(broker)
            time.sleep(step.hold_s)
            self.cluster.start(broker)
            self._in_sync()
            self._measure(step.name, started, led)

    def _in_sync(self) -> None:
        self.cluster.wait_ready()
        self.cluster.wait_in_sync([self.topic])
        self.rebalance()
        self._is_settled = True
        time.sleep(AFTERMATH_S)

    def _measure(self, name: str, started: float, led: Sequence[int]) -> None:
        self.measured.append(Measured(name, started, time.monotonic(), led))
        self.events.write("in sync", quiet=True, after_s=round(time.monotonic() - started - AFTERMATH_S, 2), led=led)

    def _brokers(self, step: Step) -> list[int]:
        """Return whom the step hits: a broker that leads a partition, now and then any; a second one if it overlaps."""
        ids = [node.id for node in self.cluster.nodes]
        leading = [broker for broker in ids if self._led_by(broker)]
        chosen = ids if step.other % 4 == 0 or not leading else leading
        broker = chosen[step.target % len(chosen)]
        others = [each for each in ids if each != broker]
        return [broker, others[step.other % len(others)]] if step.overlapping and others else [broker]

    def _led_by(self, broker: int) -> list[int]:
        state = self.cluster.state([self.topic])
        return state.led_by(broker, self.topic) if state is not None else []

    def _hurt(self, step: Step, broker: int) -> None:
        match step.kind:
            case Kind.KILL:
                self.cluster.kill(broker)
            case Kind.STOP:
                self._stop(broker)
            case Kind.FREEZE:
                self.cluster.freeze(broker)
            case Kind.PARTITION:
                self._cut(step, broker)

    def _heal(self, step: Step, brokers: Sequence[int]) -> None:
        if step.kind is Kind.PARTITION:
            assert self.network is not None
            self.network.heal()
        for broker in brokers:
            if step.kind is Kind.FREEZE:
                self.cluster.thaw(broker)
            elif step.kind in (Kind.KILL, Kind.STOP):
                self.cluster.launch(broker)

    def _stop(self, broker: int) -> None:
        status = self.cluster.stop(broker).get(broker)
        if status not in (0, JVM_STATUS, None):
            raise Hurt(f"broker {broker} ended with status {status} when it was told to stop")

    def _cut(self, step: Step, broker: int) -> None:
        assert self.network is not None
        here = self.hosts[broker]
        peers = [host for host in self.hosts.values() if host != here]
        match step.cut:
            case Cut.ALL:
                self.network.isolate(here)
            case Cut.STORE:
                self.network.drop(here, STORE)
                self.network.drop(STORE, here)
            case Cut.ONE_BROKER:
                peer = peers[step.other % len(peers)]
                self.network.drop(here, peer)
                self.network.drop(peer, here)
            case _:
                for peer in peers:
                    if step.cut is not Cut.TO_BROKERS:
                        self.network.drop(peer, here)
                    if step.cut is not Cut.FROM_BROKERS:
                        self.network.drop(here, peer)
