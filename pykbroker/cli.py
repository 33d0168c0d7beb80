"""The command `pykbroker`.

`start` runs one broker until SIGTERM or SIGINT. What a person did wrong – a port that is taken, a folder that cannot be
written or is in use, a bad property – is one line on stderr and exit status 1; everything else is a traceback, because it
is a bug.
"""

import contextlib
import logging
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA_DIR = Path("pykbroker-data")

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="A Kafka broker that stock Kafka clients cannot tell from Apache Kafka.",
)


@app.callback()
def root() -> None:
    """Keep `start` a subcommand of its own while it is the only one."""


@app.command()
def start(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for the data; made if it is not there.")] = None,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Keep data in a temporary folder, gone at exit.")] = False,
    advertised_listener: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where clients are told to connect.")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A server.properties file of Kafka.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One property; may be repeated.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run one broker until it is told to stop.

    Examples:  pykbroker start   ·   pykbroker start --ephemeral --port 0   ·   pykbroker start --set num.partitions=3
    """
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s (%(name)s)"
    )
    with _data_folder(data_dir, ephemeral) as folder:
        properties = _properties(config, set_ or [], port, host, advertised_listener, folder)
        sys.exit(_run(properties, is_ephemeral=ephemeral))


@contextlib.contextmanager
def _data_folder(data_dir: Path | None, ephemeral: bool) -> Iterator[Path | None]:
    """Yield the folder that the options name, or None where the properties decide."""
    if not ephemeral:
        yield data_dir
        return
    if data_dir is not None:
        _fail("--ephemeral and --data-dir exclude each other")
    with tempfile.TemporaryDirectory(prefix="pykbroker-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _properties(
    config: Path | None,
    settings: list[str],
    port: int | None,
    host: str | None,
    advertised_listener: str | None,
    folder: Path | None,
) -> dict[str, str]:
    """Put the properties together: the file's, then the options', then those of --set."""
    from pykbroker.config import ConfigError, read_properties

    properties: dict[str, str] = {}
    if config is not None:
        try:
            properties = read_properties(config)
        except (OSError, ConfigError, UnicodeDecodeError) as error:
            _fail(f"cannot read {config}: {getattr(error, 'strerror', None) or error}")
    if port is not None or host is not None or "listeners" not in properties:
        properties["listeners"] = f"PLAINTEXT://{host or '127.0.0.1'}:{9092 if port is None else port}"
        properties.pop("advertised.listeners", None)
    if advertised_listener is not None:
        properties["advertised.listeners"] = f"PLAINTEXT://{advertised_listener.removeprefix('PLAINTEXT://')}"
    if folder is not None:
        properties["log.dirs"] = str(folder.absolute())
    elif "log.dirs" not in properties and "log.dir" not in properties:
        properties["log.dirs"] = str(DEFAULT_DATA_DIR.absolute())
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name.strip():
            _fail(f"--set {setting}: expected NAME=VALUE")
        properties[name.strip()] = value
    return properties


def _run(properties: dict[str, str], *, is_ephemeral: bool) -> int:
    import anyio

    from pykbroker.broker import Broker, StartError
    from pykbroker.config import BrokerConfig, ConfigError

    async def serve() -> int:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            try:
                broker = Broker(BrokerConfig.from_properties(properties), is_ephemeral=is_ephemeral)
                print(f"pykbroker keeps its data in {broker.data_dir}", flush=True)
                async with broker:
                    print(f"pykbroker accepts clients on {broker.bootstrap}", flush=True)
                    async for received in signals:
                        print(f"pykbroker stops on {received.name}", flush=True)
                        break
            except (ConfigError, StartError) as error:
                _fail(str(error))
        print(f"pykbroker stopped bugs_total={broker.metrics.bugs_total}", flush=True)
        return 0

    return anyio.run(serve, backend_options={"use_uvloop": _has_uvloop()})


def _has_uvloop() -> bool:
    import importlib.util

    return importlib.util.find_spec("uvloop") is not None


def _fail(message: str) -> None:
    print(f"pykbroker: {message}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    app()
