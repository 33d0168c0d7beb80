"""Who is gone is fenced within a second; who is frozen, cut off or alive is not."""

import errno
from pathlib import Path

import anyio
import pytest

from pykbroker.cluster.image import MetadataImage
from tests.cluster.nodes import Nodes, several

pytestmark = pytest.mark.anyio

FIRST_PORT = 9000
SOON_MS = 1500
SESSION_MS = 9000


class Wire:
    """What is between the brokers: which of them listen, and which listeners answer at all."""

    def __init__(self) -> None:
        self.refusing: set[int] = set()
        self.silent: set[int] = set()
        self.hanging: set[int] = set()
        self.connects = 0

    async def connect(self, host: str, port: int) -> "_Line":
        self.connects += 1
        broker_id = port - FIRST_PORT
        if broker_id in self.refusing:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
        if broker_id in self.silent:
            raise TimeoutError(errno.ETIMEDOUT, "no answer")
        if broker_id in self.hanging:
            await anyio.sleep_forever()
        return _Line(self, broker_id)


class _Line:
    def __init__(self, wire: Wire, broker_id: int) -> None:
        self._wire = wire
        self._broker_id = broker_id

    async def exchange(self, frame: bytes) -> memoryview:
        assert frame
        if self._broker_id in self._wire.refusing | self._wire.silent:
            raise ConnectionResetError(errno.ECONNRESET, "it is gone")
        return memoryview(b"")

    async def aclose(self) -> None:
        pass


def is_fenced(nodes: Nodes, broker_id: int) -> bool:
    return nodes.any.image.brokers[broker_id].fenced


async def test_process_that_is_gone_is_fenced_and_replaced_soon(tmp_path: Path) -> None:
    wire = Wire()
    async with several(tmp_path, wire) as nodes:
        await nodes.start(1, 2, 3)
        await nodes.create("t", [(3, 2, 1)])
        nodes.kill(3)
        wire.refusing.add(3)
        assert await nodes.until(lambda: nodes.leaders("t") == [2]) < SOON_MS


async def test_controller_whose_process_is_gone_is_replaced_soon(tmp_path: Path) -> None:
    wire = Wire()
    async with several(tmp_path, wire) as nodes:
        await nodes.start(1, 2, 3)
        await nodes.create("t", [(1, 2, 3)])
        nodes.kill(1)
        wire.refusing.add(1)
        assert await nodes.until(lambda: nodes.leaders("t") == [2]) < SOON_MS
        assert nodes.controller_id() in (2, 3)


async def test_broker_that_does_not_answer_has_its_session_time(tmp_path: Path) -> None:
    wire = Wire()
    async with several(tmp_path, wire) as nodes:
        await nodes.start(1, 2)
        await nodes.create("t", [(2, 1)])
        nodes.kill(2)
        wire.silent.add(2)
        assert await nodes.until(lambda: nodes.leaders("t") == [1]) > SESSION_MS - 2000


async def test_broker_that_is_refused_by_mistake_is_fenced_once(tmp_path: Path) -> None:
    wire = Wire()
    async with several(tmp_path, wire) as nodes:
        await nodes.start(1, 2)
        await nodes.create("t", [(2, 1)])
        wronged = nodes.running[2].cluster
        epochs = {wronged.broker_epoch}

        def note(image: MetadataImage, delta: object) -> None:
            epochs.add(image.brokers[2].epoch)

        wronged.on_image.append(note)
        wire.refusing.add(2)
        end = nodes.clock.monotonic_ms() + 2 * SESSION_MS
        await nodes.until(lambda: nodes.clock.monotonic_ms() > end)
        assert len(epochs) == 2
        assert not is_fenced(nodes, 2)
        assert nodes.leaders("t") == [1]
        # Once it has been reached again, a refusal counts again.
        wire.refusing.clear()
        connects = wire.connects
        await nodes.until(lambda: wire.connects > connects)
        wire.refusing.add(2)
        await nodes.until(lambda: len(epochs) == 3)


async def test_only_the_controller_watches_all_and_the_others_watch_it(tmp_path: Path) -> None:
    wire = Wire()
    async with several(tmp_path, wire) as nodes:
        await nodes.start(1, 2, 3)
        end = nodes.clock.monotonic_ms() + SESSION_MS
        await nodes.until(lambda: nodes.clock.monotonic_ms() > end)
        # 1 watches 2 and 3, which watch 1; each connection is held.
        assert wire.connects == 4


async def test_connect_that_hangs_is_given_up_so_that_the_end_is_seen(tmp_path: Path) -> None:
    wire = Wire()
    wire.hanging.add(2)
    async with several(tmp_path, wire) as nodes:
        await nodes.start(1, 2, socket_connection_setup_timeout_ms=200)
        await nodes.create("t", [(2, 1)])
        tried = wire.connects
        await nodes.until(lambda: wire.connects > tried)
        wire.hanging.clear()
        wire.refusing.add(2)
        nodes.kill(2)
        assert await nodes.until(lambda: nodes.leaders("t") == [1]) < SOON_MS
