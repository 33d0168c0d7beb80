"""Whatever an outbox is given leaves in order and whole, however little the socket takes at a time."""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from pykbroker.log.files import FileSlice, OpenFile
from pykbroker.metrics import Metrics
from pykbroker.server.outbox import COPY_BELOW_BYTES, WINDOW_BYTES, Outbox
from tests.support.running import DEADLINE_S
from wire.schema import Records

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The broker's end and the client's; little fits in between."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        yield ours, theirs


@pytest.fixture
def file(disk_path: Path) -> OpenFile:
    path = disk_path / "segment"
    path.write_bytes(random.Random(1).randbytes(4 * WINDOW_BYTES))
    return OpenFile(os.open(path, os.O_RDWR))


def outbox_of(sock: socket.socket, *pieces: Records) -> Outbox:
    outbox = Outbox(sock)
    outbox.add(list(pieces))
    return outbox


def content(piece: Records) -> bytes:
    if isinstance(piece, FileSlice):
        return piece.read()
    assert isinstance(piece, bytes | bytearray | memoryview)
    return bytes(piece)


async def received(outbox: Outbox, ends: Ends, metrics: Metrics, size: int) -> bytes:
    """Send all, as the socket takes it, and return what comes out at the other end."""
    ours, theirs = ends
    data = bytearray()

    async def drain() -> None:
        while not outbox.send(metrics):
            if outbox.is_cold:
                await outbox.warm()
            else:
                await anyio.wait_writable(ours)

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            while len(data) < size:
                try:
                    data += theirs.recv(65536)
                except BlockingIOError:
                    await anyio.wait_readable(theirs)
    return bytes(data)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(4))
async def test_pieces_of_all_kinds_leave_in_order_and_whole(ends: Ends, file: OpenFile, seed: int) -> None:
    ours, _ = ends
    choose = random.Random(seed)
    pieces: list[Records] = []
    for _ in range(30):
        size = choose.choice((1, 100, COPY_BELOW_BYTES - 1, COPY_BELOW_BYTES, 100_000))
        if choose.random() < 0.5:
            pieces.append(FileSlice(file, choose.randrange(0, WINDOW_BYTES), size))
        else:
            pieces.append(choose.choice((bytes, bytearray, memoryview))(choose.randbytes(size)))
    expected = b"".join(map(content, pieces))
    metrics = Metrics()
    outbox = outbox_of(ours, *pieces)
    assert await received(outbox, ends, metrics, len(expected)) == expected
    assert not outbox
    assert outbox.unsent_bytes == 0
    assert metrics.bytes_out_total == len(expected)


@pytest.mark.anyio
async def test_slice_of_many_windows_leaves_whole(ends: Ends, file: OpenFile) -> None:
    ours, _ = ends
    piece = FileSlice(file, 5, 3 * WINDOW_BYTES + 17)
    outbox = outbox_of(ours, b"head", piece, b"tail")
    expected = b"head" + piece.read() + b"tail"
    assert await received(outbox, ends, Metrics(), len(expected)) == expected
    assert outbox.unsent_bytes == 0


@pytest.mark.anyio
async def test_data_that_is_not_in_the_page_cache_leaves_whole(ends: Ends, file: OpenFile) -> None:
    ours, _ = ends
    os.fsync(file.fd)
    os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    piece = FileSlice(file, 0, 2 * WINDOW_BYTES)
    if piece.is_resident():
        pytest.skip("this file system keeps what it is told to forget")
    outbox = outbox_of(ours, b"head", FileSlice(file, 3 * WINDOW_BYTES, 100), piece, b"tail")
    data = await received(outbox, ends, Metrics(), 4 + 100 + len(piece) + 4)
    assert data == b"head" + FileSlice(file, 3 * WINDOW_BYTES, 100).read() + piece.read() + b"tail"


@pytest.mark.parametrize("size", [100, COPY_BELOW_BYTES, 2 * WINDOW_BYTES])
def test_file_that_became_shorter_ends_the_connection(ends: Ends, file: OpenFile, size: int) -> None:
    ours, theirs = ends
    outbox = outbox_of(ours, FileSlice(file, WINDOW_BYTES, size))
    os.ftruncate(file.fd, WINDOW_BYTES)
    with pytest.raises(ConnectionAbortedError, match="became shorter"):
        outbox.send(Metrics())
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_adjacent_pieces_of_memory_leave_in_one_send(ends: Ends, file: OpenFile) -> None:
    ours, theirs = ends
    small = FileSlice(file, 0, 100)
    outbox = outbox_of(ours, b"a" * 10, small, bytearray(b"b" * 10), memoryview(b"c" * 10))
    assert outbox.send(Metrics())
    assert theirs.recv(1000) == b"a" * 10 + small.read() + b"b" * 10 + b"c" * 10


def test_client_that_is_gone_is_an_error(ends: Ends) -> None:
    ours, theirs = ends
    theirs.close()
    with pytest.raises(BrokenPipeError):
        outbox_of(ours, b"nobody").send(Metrics())


def test_closed_outbox_sends_nothing_any_more(ends: Ends) -> None:
    ours, theirs = ends
    outbox = outbox_of(ours, b"forget me")
    outbox.close()
    outbox.add(b"and me")
    assert not outbox
    assert outbox.send(Metrics())
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
