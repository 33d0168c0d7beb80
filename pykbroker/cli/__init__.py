"""The command `pykbroker`.

`start` runs one broker until SIGTERM or SIGINT, `cluster` several, each as a process of its own, `test` some for
another program's tests: they are here, with argparse and few imports, because a broker's start is measured. All other
commands are clients of some cluster; they are in `root` and the modules that it names, and imported when they are
called.

What a person did wrong – a port that is taken, a folder that cannot be written or is in use, a bad property – is one
line on stderr and exit status 1; everything else is a traceback, because it is a bug.
"""

import argparse
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pykbroker.faults.supervised import SupervisedLifecycle
    from pykbroker.study.recorder import Sink

DEFAULT_DATA_DIR = Path("pykbroker-data")
DEFAULT_CLUSTER_DIR = Path("pykbroker-cluster")
DEFAULT_PORT = 9092
DEFAULT_HTTP_PORT = 9644
DEFAULT_TRACE = "pykbroker.trace"
LOG_LEVELS = ("debug", "info", "warning", "error")


class Options(argparse.Namespace):
    """What the command was told; `brokers` is None for `start`, which alone knows the others that may be None."""

    brokers: int | None = None
    node_id: int | None = None
    store: str | None = None
    advertised_listener: str | None = None
    http: str | None = None
    console: bool = False
    trace: str | None = None
    trace_tree: list[str] | None = None
    trace_max_bytes: int | None = None
    from_env: bool = False
    unsynced: bool = False
    until_stdin_closes: bool = False
    port: int | None
    host: str | None
    data_dir: Path | None
    ephemeral: bool
    config: Path | None
    set: list[str]
    log_level: str


def main(arguments: Sequence[str] | None = None) -> None:
    # What is imported stays for good: collecting garbage meanwhile finds nothing, and takes a tenth of the start.
    gc.disable()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in ("start", "cluster", "test"):
        from pykbroker.cli.root import run

        run(words)
    own = words[: words.index("--")] if "--" in words else words
    options = parser().parse_args(own, namespace=Options())
    logging.basicConfig(
        level=options.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s (%(name)s)"
    )
    if words[0] == "test":
        sys.exit(_test(options, words[len(own) + 1 :]))
    if own != words:
        _fail(f"{words[0]} takes no command")
    with _data_folder(options) as folder:
        sys.exit(_start(options, folder) if options.brokers is None else _cluster(options, options.brokers, folder))


def parser() -> argparse.ArgumentParser:
    """Return the parser of `start` and `cluster`."""
    parser = argparse.ArgumentParser(prog="pykbroker")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    start = commands.add_parser(
        "start",
        help="run one broker until it is told to stop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  pykbroker start\n"
        "  pykbroker start --ephemeral --port 0\n"
        "  pykbroker start --config server.properties --set num.partitions=3\n"
        "  pykbroker start --trace -           # a line for every request and every answer\n"
        "  pykbroker start --trace-tree all    # every byte of them explained",
    )
    _add_common(start, DEFAULT_DATA_DIR)
    start.add_argument("--node-id", type=int, metavar="N", help="the broker's id in its cluster (default: 1)")
    start.add_argument("--store", metavar="URL", help="the cluster's store: etcd://host:2379/prefix or sqlite:PATH")
    start.add_argument("--advertised-listener", metavar="HOST:PORT", help="where clients are told to connect")
    start.add_argument(
        "--trace", nargs="?", const=DEFAULT_TRACE, metavar="FILE",
        help=f"write every request and answer to a file (default: {DEFAULT_TRACE}), or show them as lines with -",
    )  # fmt: skip
    start.add_argument(
        "--trace-tree", action="append", metavar="API",
        help="trace to the terminal, with every byte of that API, or of all",
    )  # fmt: skip
    start.add_argument(
        "--trace-max-bytes", type=int, metavar="N",
        help="with --trace FILE: keep the newest frames, in FILE and the older ones in FILE.1",
    )  # fmt: skip
    start.add_argument("--from-env", action="store_true", help="take properties from KAFKA_… variables, too (Docker)")
    # What `cluster` tells its brokers: the data goes with it, and so do they.
    start.add_argument("--unsynced", action="store_true", help=argparse.SUPPRESS)
    start.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    cluster = commands.add_parser(
        "cluster",
        help="run several brokers on this machine, a process for each",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  pykbroker cluster --brokers 3\n  pykbroker cluster --brokers 3 --ephemeral --port 0",
    )
    cluster.add_argument("--brokers", type=_count, default=3, metavar="N", help="how many (default: 3)")
    _add_common(cluster, DEFAULT_CLUSTER_DIR)
    _add_test(commands)
    return parser


def _add_test(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    test = commands.add_parser(
        "test",
        help="run brokers for tests, which order faults of them by HTTP",
        usage="%(prog)s [options] [-- COMMAND ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run brokers for tests in any language. COMMAND finds them in its environment, as\n"
        "KAFKA_BOOTSTRAP_SERVERS and PYKBROKER_HTTP; without it, they run until told to stop.",
        epilog="examples:\n"
        "  pykbroker test -- npm test\n"
        "  pykbroker test --brokers 3 -- go test ./...\n"
        "  pykbroker test --port 9092 --http 9644",
    )
    test.add_argument("--brokers", type=_count, default=1, metavar="N", help="how many (default: 1)")
    test.add_argument(
        "--port", type=_port, metavar="N", help="port of the first broker, the others follow (default: any)"
    )
    test.add_argument("--http", default="0", metavar="HOST:PORT", help="where faults are ordered (default: any port)")
    test.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one property; repeatable")
    test.add_argument(
        "--until-stdin-closes", action="store_true", help="without a command: end with the program that started it"
    )
    # Brokers that are hurt on purpose have much to warn of.
    test.add_argument(
        "--log-level", choices=LOG_LEVELS, default="error", help="of what stderr is told (default: error)"
    )


def _add_common(parser: argparse.ArgumentParser, data_dir: Path) -> None:
    is_cluster = data_dir == DEFAULT_CLUSTER_DIR
    first = "port of the first broker, the others follow" if is_cluster else "port to listen on"
    parser.add_argument("--port", type=_port, metavar="N", help=f"{first}; 0 takes any (default: {DEFAULT_PORT})")
    parser.add_argument("--host", metavar="A", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--data-dir", type=Path, metavar="D", help=f"folder of the data (default: {data_dir})")
    parser.add_argument("--ephemeral", action="store_true", help="keep the data in a temporary folder, gone at exit")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a server.properties file of Kafka")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one property; repeatable")
    where = "the first broker's, the others' ports follow" if is_cluster else "HOST:PORT"
    parser.add_argument(
        "--http",
        nargs="?",
        const=str(DEFAULT_HTTP_PORT),
        metavar="HOST:PORT",
        help=f"serve metrics and health by HTTP: {where} (without a value: 127.0.0.1:{DEFAULT_HTTP_PORT})",
    )
    parser.add_argument(
        "--console", action="store_true", help="serve the web console, for this machine and read-only; implies --http"
    )
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of brokers")
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
    if options.from_env:
        from pykbroker.environment import properties_from

        try:
            properties = properties_from(os.environ, properties)
        except ConfigError as error:
            _fail(str(error))
    if options.port is not None or options.host is not None or "listeners" not in properties:
        port = DEFAULT_PORT if options.port is None else options.port
        properties["listeners"] = f"PLAINTEXT://{options.host or '127.0.0.1'}:{port}"
        properties.pop("advertised.listeners", None)
    if options.advertised_listener is not None:
        properties["advertised.listeners"] = f"PLAINTEXT://{options.advertised_listener.removeprefix('PLAINTEXT://')}"
    if folder is not None:
        properties["log.dirs"] = str(folder.absolute())
    elif "log.dirs" not in properties and "log.dir" not in properties:
        properties["log.dirs"] = str(DEFAULT_DATA_DIR.absolute())
    if options.node_id is not None:
        properties["node.id"] = str(options.node_id)
        properties.pop("broker.id", None)
    if options.store is not None:
        properties["pykbroker.store"] = options.store
    if options.http is not None:
        properties["pykbroker.http.listener"] = options.http
    if options.console:
        properties["pykbroker.http.console.enable"] = "true"
        properties.setdefault("pykbroker.http.listener", str(DEFAULT_HTTP_PORT))
    return properties | _settings(options)


def _settings(options: Options) -> dict[str, str]:
    """Return the properties of --set."""
    properties = {}
    for setting in options.set:
        name, separator, value = setting.partition("=")
        if not separator or not name.strip():
            _fail(f"--set {setting}: expected NAME=VALUE")
        properties[name.strip()] = value
    return properties


def _start(options: Options, folder: Path | None) -> int:
    properties = _properties(options, folder)
    import anyio

    from pykbroker.broker import Broker, StartError
    from pykbroker.config import BrokerConfig, ConfigError

    trace = options.trace or ("-" if options.trace_tree else None)
    if trace is None and options.trace_max_bytes is not None:
        _fail("--trace-max-bytes needs --trace")
    sink = None if trace is None else _trace_sink(options, trace)

    async def serve() -> int:
        with (
            anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
            contextlib.ExitStack() as stack,
        ):
            try:
                is_ephemeral = options.ephemeral or options.unsynced
                broker = Broker(BrokerConfig.from_properties(properties), is_ephemeral=is_ephemeral)
                _say(f"pykbroker keeps its data in {broker.data_dir}")
                async with broker:
                    if sink is not None:
                        from pykbroker.study.tracing import traced

                        stack.enter_context(traced(broker, sink))
                    gc.freeze()
                    gc.enable()
                    lifecycle = supervised(broker) if options.until_stdin_closes else None
                    if broker.http_address is not None:
                        _say(f"pykbroker serves HTTP on {_url(broker.http_address)}")
                        if broker.config.pykbroker_http_console_enable:
                            _say(f"pykbroker has its console at {_url(broker.http_address)}/console/")
                    _say(f"pykbroker accepts clients on {broker.bootstrap}")
                    if options.from_env:
                        _say_what_containers_are_waited_for(broker.config.node_id)
                    async with anyio.create_task_group() as waiting:
                        if options.until_stdin_closes:
                            waiting.start_soon(until_stdin_closes, lifecycle, waiting.cancel_scope)
                        async for received in signals:
                            _say(f"pykbroker stops on {received.name}")
                            break
                        waiting.cancel_scope.cancel()
            except (ConfigError, StartError) as error:
                _fail(str(error))
        _say(f"pykbroker stopped bugs_total={broker.metrics.bugs_total}")
        return 0

    def supervised(broker: Broker) -> "SupervisedLifecycle | None":
        if broker.faults is None:
            return None
        from pykbroker.faults.supervised import SupervisedLifecycle
        from pykbroker.supervisor import ORDERS

        lifecycle = SupervisedLifecycle(lambda order: _say(f"{ORDERS}{order}"))
        broker.faults.run_by(lifecycle)
        return lifecycle

    async def until_stdin_closes(lifecycle: "SupervisedLifecycle | None", scope: anyio.CancelScope) -> None:
        await (anyio.wait_readable(0) if lifecycle is None else lifecycle.run())
        scope.cancel()

    return anyio.run(serve, backend_options={"use_uvloop": _has_uvloop()})


def _trace_sink(options: Options, where: str) -> "Sink":
    from pykbroker.study.commands import trace_sink
    from wire.study.commands import CommandError

    try:
        return trace_sink(where, options.trace_tree or (), options.trace_max_bytes)
    except (OSError, CommandError) as error:
        _fail(f"--trace {where}: {error.strerror if isinstance(error, OSError) else error}")


def _say_what_containers_are_waited_for(node_id: int) -> None:
    from pykbroker.environment import lines_when_started

    for line in lines_when_started(node_id):
        _say(line)


def _cluster(options: Options, brokers: int, folder: Path | None) -> int:
    import anyio

    from pykbroker.supervisor import Supervisor

    folder = (folder or DEFAULT_CLUSTER_DIR).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _fail(f"cannot create {folder}: {error.strerror}")
    first = DEFAULT_PORT if options.port is None else options.port
    if first + brokers - 1 > 65535:
        _fail(f"--port {first} leaves no ports for {brokers} brokers")
    commands = {}
    http_listeners = _http_listeners(options, brokers)
    for broker_id in range(1, brokers + 1):
        command = [sys.executable, "-m", "pykbroker", "start", "--until-stdin-closes", "--log-level", options.log_level]
        command += ["--node-id", str(broker_id), "--port", str(first + broker_id - 1 if first else 0)]
        command += [
            "--data-dir",
            str(folder / f"broker-{broker_id}"),
            "--store",
            f"sqlite:{folder / 'metadata.sqlite'}",
        ]
        http_listener = http_listeners[broker_id - 1]
        command += ["--http", http_listener] if http_listener is not None else []
        command += ["--console"] if options.console else []
        command += ["--unsynced"] if options.ephemeral else []
        command += ["--host", options.host] if options.host is not None else []
        command += ["--config", str(options.config)] if options.config is not None else []
        command += [word for setting in options.set for word in ("--set", setting)]
        commands[broker_id] = command
    _say(f"pykbroker keeps its data in {folder}")
    return anyio.run(Supervisor(commands).run, backend_options={"use_uvloop": _has_uvloop()})


def _test(options: Options, command: Sequence[str]) -> int:
    if command and options.until_stdin_closes:
        _fail("--until-stdin-closes is for brokers without a command")
    import anyio

    from pykbroker.config import ConfigError
    from pykbroker.embedded.cluster import AsyncCluster
    from pykbroker.errors import StartError
    from pykbroker.server.listener import ListenError

    try:
        from pykbroker.cli.testing import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("pykbroker"):
            raise
        _fail(f"faults by HTTP need {error.name.partition('.')[0]}: pip install 'pykbroker[http]'")
    kafka = AsyncCluster(brokers=options.brokers or 1, properties=_settings(options), first_port=options.port or None)

    async def serve() -> int:
        return await run(kafka, options.http or "", command, _say, until_stdin_closes=options.until_stdin_closes)

    try:
        return anyio.run(serve, backend_options={"use_uvloop": _has_uvloop()})
    except (ConfigError, ListenError, StartError) as error:
        _fail(str(error))


def _http_listeners(options: Options, brokers: int) -> list[str | None]:
    """Return where each broker of a cluster serves HTTP: on ports that follow one another, or on any."""
    if options.http is None:
        if not options.console:
            return [None] * brokers
        options.http = str(DEFAULT_HTTP_PORT)
    from pykbroker.config_tables.definition import ConfigError
    from pykbroker.config_tables.http_listener import parse_http_listener

    try:
        host, first = parse_http_listener(options.http)
    except ConfigError as error:
        _fail(f"--http {error}")
    if first + brokers - 1 > 65535:
        _fail(f"--http {options.http} leaves no ports for {brokers} brokers")
    host = f"[{host}]" if ":" in host else host
    return [f"{host}:{first + number if first else 0}" for number in range(brokers)]


def _url(address: tuple[str, int]) -> str:
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more
        print(line, flush=True)


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


def _fail(message: str) -> NoReturn:
    print(f"pykbroker: {message}", file=sys.stderr)
    sys.exit(1)
