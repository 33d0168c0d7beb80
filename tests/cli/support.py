"""Commands, called in a thread of the test's process while its broker runs on a real socket, and records for them."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import anyio.to_thread
import attrs
from typer.testing import CliRunner

from pykbroker.broker import Broker
from pykbroker.cli.root import app
from pykbroker.client import Client
from pykbroker.client.producer import Producer


@attrs.frozen
class Done:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """What was printed, cut into words."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@attrs.frozen
class Commands:
    bootstrap: str

    @classmethod
    def of(cls, broker: Broker) -> "Commands":
        return cls(broker.bootstrap)

    async def __call__(self, *words: str, status: int = 0) -> Done:
        """Run a command that is to end with this status, and never with a traceback."""
        done = await self.tried(*words)
        assert done.status == status, done
        return done

    async def tried(self, *words: str) -> Done:
        """Run a command that may fail, though never with a traceback."""
        call = functools.partial(invoke, *words, environment={"PYKBROKER_BOOTSTRAP": self.bootstrap})
        return await anyio.to_thread.run_sync(call)


def invoke(*words: str, environment: Mapping[str, str] | None = None) -> Done:
    result = CliRunner().invoke(app, list(words), env=environment, catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)


def words_of(value: object) -> str | None:
    """The id of a parameter: what is typed."""
    return " ".join(value) if isinstance(value, list) else None


async def produce(client: Client, topic: str, *values: bytes, partition: int = 0, timestamp: int = 1000) -> None:
    async with Producer(client) as producer:
        for value in values:
            await producer.send(topic, value, key=b"k" + value, partition=partition, timestamp=timestamp)
