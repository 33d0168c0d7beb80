"""The command `pykbroker`.

`start` runs one broker until SIGTERM or SIGINT. What a person did wrong – a port that is taken, a folder that cannot
be written or is in use, a bad property – is one line on stderr and exit status 1; everything else is a traceback,
because it is a bug.
"""

import argparse
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

DEFAULT_DATA_DIR = Path("pykbroker-data")


class Options(argparse.Namespace):
    """What `start` was told."""

    port: int | None
    host: str | None
    data_dir: Path | None
    ephemeral: bool
    advertised_listener: str | None
    config: Path | None
    set: list[str]
    log_level: str


def main(arguments: Sequence[str] | None = None) -> None:
    # What is imported stays for good: collecting garbage meanwhile finds nothing, and takes a tenth of the start.
    gc.disable()
    options = _parser().parse_args(arguments, namespace=Options())
    logging.basicConfig(
        level=options.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s (%(name)s)"
    )
    with _data_folder(options) as folder:
        sys.exit(_run(_properties(options, folder), is_ephemeral=options.ephemeral))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pykbroker", description="A Kafka broker that stock Kafka clients cannot tell from Apache Kafka."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    start = commands.add_parser(
        "start",
        help="run one broker until it is told to stop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  pykbroker start\n"
        "  pykbroker start --ephemeral --port 0\n"
        "  pykbroker start --config server.properties --set num.partitions=3",
    )
    start.add_argument("--port", type=_port, metavar="N", help="port to listen on; 0 takes any (default: 9092)")
    start.add_argument("--host", metavar="A", help="address to listen on (default: 127.0.0.1)")
    start.add_argument("--data-dir", type=Path, metavar="D", help=f"folder of the data (default: {DEFAULT_DATA_DIR})")
    start.add_argument("--ephemeral", action="store_true", help="keep the data in a temporary folder, gone at exit")
    start.add_argument("--advertised-listener", metavar="HOST:PORT", help="where clients are told to connect")
    start.add_argument("--config", type=Path, metavar="FILE", help="a server.properties file of Kafka")
    start.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one property; may be repeated")
    start.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return int(text)


@contextlib.contextmanager
def _data_folder(options: Options) -> Iterator[Path | None]:
    """Yield the folder that the options name, or None where the properties decide."""
    if not options.ephemeral:
        yield options.data_dir
        return
    if options.data_dir is not None:
        _fail("--ephemeral and --data-dir exclude each other")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pykbroker-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _properties(options: Options, folder: Path | None) -> dict[str, str]:
    """Put the properties together: the file's, then the options', then those of --set."""
    from pykbroker.config import ConfigError, read_properties

    properties: dict[str, str] = {}
    if options.config is not None:
        try:
            properties = read_properties(options.config)
        except ConfigError as error:
            _fail(str(error))
    if options.port is not None or options.host is not None or "listeners" not in properties:
        port = 9092 if options.port is None else options.port
        properties["listeners"] = f"PLAINTEXT://{options.host or '127.0.0.1'}:{port}"
        properties.pop("advertised.listeners", None)
    if options.advertised_listener is not None:
        properties["advertised.listeners"] = f"PLAINTEXT://{options.advertised_listener.removeprefix('PLAINTEXT://')}"
    if folder is not None:
        properties["log.dirs"] = str(folder.absolute())
    elif "log.dirs" not in properties and "log.dir" not in properties:
        properties["log.dirs"] = str(DEFAULT_DATA_DIR.absolute())
    for setting in options.set:
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
                    gc.freeze()
                    gc.enable()
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
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


def _fail(message: str) -> NoReturn:
    print(f"pykbroker: {message}", file=sys.stderr)
    sys.exit(1)
