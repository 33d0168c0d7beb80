"""A Kafka broker in Python. `Broker` and `Cluster` run inside a program: see pykbroker.embedded."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pykbroker.embedded import Broker, Cluster

__all__ = ["Broker", "Cluster"]


def __getattr__(name: str) -> object:
    # Loaded when somebody asks: whoever only wants a module of the package does not pay for a whole broker.
    if name in __all__:
        import pykbroker.embedded

        return getattr(pykbroker.embedded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
