"""A Kafka broker in Python. `Broker` and `Cluster` run inside a program: see pykbroker.embedded.

Here is what such a program has to name: what it starts and is given, the faults it orders, the errors it may catch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pykbroker.config import ConfigError
    from pykbroker.embedded import AsyncCluster, Broker, Cluster, ThreadedCluster
    from pykbroker.errors import KafkaError, StartError
    from pykbroker.faults.rules import Fault, FaultError

__all__ = [
    "AsyncCluster",
    "Broker",
    "Cluster",
    "ConfigError",
    "Fault",
    "FaultError",
    "KafkaError",
    "StartError",
    "ThreadedCluster",
]

_MODULES = {
    "ConfigError": "pykbroker.config",
    "Fault": "pykbroker.faults.rules",
    "FaultError": "pykbroker.faults.rules",
    "KafkaError": "pykbroker.errors",
    "StartError": "pykbroker.errors",
}


def __getattr__(name: str) -> object:
    # Loaded when somebody asks: whoever only wants a module of the package does not pay for a whole broker.
    if name in __all__:
        import importlib

        return getattr(importlib.import_module(_MODULES.get(name, "pykbroker.embedded")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
