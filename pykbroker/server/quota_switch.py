"""Switches client quotas on when there is the first one, and off with the last.

A broker without quotas does not even load what they need.

Not here: what they do (throttling, listener).
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio.to_thread
from anyio.abc import TaskGroup

from pykbroker.cluster.image import ImageDelta, MetadataImage, QuotaEntity
from pykbroker.handlers.context import Services
from pykbroker.server.dispatch import Dispatcher
from pykbroker.server.listener import Server

if TYPE_CHECKING:
    from pykbroker.server.throttling import Throttling

logger = logging.getLogger("pykbroker.server")

Quotas = Mapping[QuotaEntity, Mapping[str, float]]


class QuotaSwitch:
    def __init__(self, services: Services, dispatcher: Dispatcher, server: Server, tasks: TaskGroup) -> None:
        self._services = services
        self._dispatcher = dispatcher
        self._server = server
        self._tasks = tasks
        self._throttling: Throttling | None = None

    def start(self) -> None:
        """Put in force what there is, and what changes from now on."""
        cluster = self._services.cluster
        cluster.on_image.append(self._on_image)
        if cluster.image.client_quotas:
            self._apply(cluster.image.client_quotas)

    def _on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        if delta.client_quotas_changed:
            self._apply(image.client_quotas)

    def _apply(self, quotas: Quotas) -> None:
        if self._throttling is None:
            from pykbroker.server.throttling import Throttling

            self._throttling = Throttling(self._dispatcher, self._services)
        self._throttling.apply(quotas)
        self._apply_to_addresses(quotas)

    def _apply_to_addresses(self, quotas: Quotas) -> None:
        from pykbroker.cluster.quota_changes import IP, is_host_name, numeric_address
        from pykbroker.quotas.connection_rates import CONNECTION_CREATION_RATE

        rates = {
            entity[0][1]: values[CONNECTION_CREATION_RATE] for entity, values in quotas.items() if entity[0][0] == IP
        }
        default = rates.pop(None, None)
        by_address: dict[str, float] = {}
        names: dict[str, float] = {}
        for name, rate in rates.items():
            assert name is not None
            if is_host_name(name):
                names[name] = rate
            elif (address := numeric_address(name)) is not None:
                by_address[address] = rate
        self._server.rates.set_quotas(by_address, default)
        if names:
            self._tasks.start_soon(self._look_up, quotas, names, by_address, default)

    async def _look_up(
        self, quotas: Quotas, names: Mapping[str, float], by_address: Mapping[str, float], default: float | None
    ) -> None:
        """Find the addresses of hosts, and put their quotas in force, too, unless they have changed meanwhile."""
        found: dict[str, float] = {}
        for name, rate in names.items():
            try:
                entries = await anyio.to_thread.run_sync(socket.getaddrinfo, name, None)
            except OSError as error:
                logger.warning("the quota of %s holds for nobody: %s", name, error)
            else:
                found |= {str(entry[4][0]): rate for entry in entries}
        if self._services.cluster.image.client_quotas is quotas:
            self._server.rates.set_quotas({**found, **by_address}, default)
