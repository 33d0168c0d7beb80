"""The places of one running broker that faults get hold of.

Rules: the faulty dispatcher stands in the way of requests only while there are faults in force, or the broker is frozen
or cut off from others. Where another one has been put before it meanwhile, it goes all the same.
"""

from pykbroker.faults.dispatcher import FaultyDispatcher
from pykbroker.faults.rules import FaultRules
from pykbroker.faults.seams import Seams
from pykbroker.handlers.context import Services
from pykbroker.server.connection import ServerContext
from pykbroker.server.dispatch import take_out


class FaultyBroker:
    def __init__(self, services: Services, server: ServerContext, rules: FaultRules, seams: Seams) -> None:
        self.services = services
        self.seams = seams
        self._server = server
        self._rules = rules
        self._dispatcher: FaultyDispatcher | None = None  # while it is in place
        rules.on_change.append(self._update)
        seams.broker_at = self._broker_at
        seams.on_change = self._update
        self._update()

    def close(self) -> None:
        self._rules.on_change.remove(self._update)
        self.seams.on_change = lambda: None

    def _update(self) -> None:
        is_needed = len(self._rules) > 0 or self.seams.is_frozen or self.seams.has_cuts
        if self._dispatcher is None:
            if is_needed:
                self._dispatcher = FaultyDispatcher(self._server.dispatcher, self._rules, self.services, self.seams)
                self._server.dispatcher = self._dispatcher
        elif not is_needed:
            take_out(self._server, self._dispatcher)
            self._dispatcher = None

    def _broker_at(self, host: str, port: int) -> int | None:
        for broker in self.services.cluster.image.brokers.values():
            if any((endpoint.host, endpoint.port) == (host, port) for endpoint in broker.listeners.values()):
                return broker.id
        return None
