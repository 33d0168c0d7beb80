"""Running a command's work with a client. What goes wrong outside of this program is one line and exit status 1."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import typer

from pykbroker.cli.options import DEFAULT_BOOTSTRAP, Cluster, parse_pairs
from pykbroker.cli.output import complain, fail
from pykbroker.client import Client, ClientSettings, NoBrokerError, NotServedError
from pykbroker.client.client import address_and_reason
from pykbroker.client.properties import settings_from
from pykbroker.config import ConfigError, read_properties
from pykbroker.errors import KafkaError
from wire.errors import ProtocolError

T = TypeVar("T")

# A person waits: less than what programs give a cluster in trouble.
SETTINGS = ClientSettings(
    client_id="pykbroker-cli",
    request_timeout_ms=10_000,
    default_api_timeout_ms=15_000,
    unknown_topic_timeout_ms=1_500,
    metadata_max_age_ms=5_000,
)


class CommandError(Exception):
    """Something that a person did wrong; the message says what."""


def run(cluster: Cluster, work: Callable[[Client], Awaitable[T]], settings: ClientSettings = SETTINGS) -> T:
    """Do `work` with a client of the cluster. Raises: typer.Exit."""
    try:
        bootstrap, settings, unknown = connection_of(cluster, settings)
        client = Client(bootstrap, settings=settings)
    except (ValueError, ConfigError) as error:
        raise typer.BadParameter(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None
    if unknown:
        complain(f"{cluster.command_config}: these have no effect here: {', '.join(unknown)}")

    async def with_client() -> T:
        async with client:
            return await work(client)

    try:
        return anyio.run(with_client)
    except (KafkaError, NoBrokerError, NotServedError, CommandError) as error:
        raise fail(str(error)) from None
    except ProtocolError as error:
        raise fail(f"a broker sent what is not Kafka's: {error}") from None
    except OSError as error:
        raise fail(address_and_reason(error)) from None
    except UnicodeEncodeError as error:  # a name among the words is not UTF-8
        raise fail(f"{error.object!r} is no text") from None


def connection_of(cluster: Cluster, defaults: ClientSettings) -> tuple[str, ClientSettings, list[str]]:
    """Return whom to ask, how, and which names of the file mean nothing here. Raises: ValueError, ConfigError."""
    properties = {} if cluster.command_config is None else read_properties(cluster.command_config)
    given = parse_pairs(cluster.properties, "-X")
    settings, unknown = settings_from(properties | given, defaults)
    servers = properties.get("bootstrap.servers")
    wrong = [name for name in unknown if name in given]
    if wrong:
        raise ValueError(f"-X: {', '.join(wrong)} has no effect here")
    return cluster.bootstrap or servers or DEFAULT_BOOTSTRAP, settings, unknown


def report_failures(outcomes: dict[str, KafkaError | None]) -> None:
    """Say what failed, a line for each. Raises: typer.Exit where something did."""
    failed = {name: error for name, error in outcomes.items() if error is not None}
    for name, error in failed.items():
        complain(f"{name}: {error}")
    if failed:
        raise typer.Exit(1)
