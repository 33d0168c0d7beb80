"""Other brokers, as this one reaches them: the interface of the network.

Sources: Kafka's NetworkClient, InterBrokerSendThread.
"""

from abc import ABC, abstractmethod


class Channel(ABC):
    """One connection to a broker: requests and their answers, one at a time."""

    @abstractmethod
    async def exchange(self, frame: bytes) -> memoryview:
        """Send one whole request frame, its four size bytes included; return the response frame without them.

        Raises: OSError when the connection is lost.
        """

    @abstractmethod
    async def aclose(self) -> None: ...


class Network(ABC):
    """How brokers are reached."""

    @abstractmethod
    async def connect(self, host: str, port: int) -> Channel:
        """Raises: OSError."""
