from pykbroker.server.buffers import LARGE_BYTES, MAX_POOLED, Buffers


def test_buffer_that_was_given_back_is_used_again() -> None:
    buffers = Buffers()
    first, second = buffers.take(), buffers.take()
    assert len(first) == len(second) == LARGE_BYTES
    assert first.obj is not second.obj
    buffers.give(first)
    assert buffers.take().obj is first.obj


def test_pool_keeps_a_bounded_number() -> None:
    buffers = Buffers()
    taken = [buffers.take() for _ in range(MAX_POOLED + 3)]
    for buffer in taken:
        buffers.give(buffer)
    again = {id(buffers.take().obj) for _ in taken}
    assert len(again & {id(buffer.obj) for buffer in taken}) == MAX_POOLED


def test_grown_buffer_holds_what_has_come_and_at_most_twice_as_much() -> None:
    buffers = Buffers()
    buffer = buffers.take()
    buffer[:] = bytes(range(256)) * (LARGE_BYTES // 256)
    content = bytes(buffer)
    larger = buffers.grow(buffer, 100 * LARGE_BYTES)
    assert len(larger) == 2 * LARGE_BYTES
    assert larger[:LARGE_BYTES] == content
    assert buffers.take().obj is buffer.obj  # the small one is free


def test_grown_buffer_is_not_larger_than_the_frame() -> None:
    buffers = Buffers()
    assert len(buffers.grow(buffers.take(), LARGE_BYTES + 10)) == LARGE_BYTES + 10


def test_grown_buffer_is_not_pooled() -> None:
    buffers = Buffers()
    larger = buffers.grow(buffers.take(), 10 * LARGE_BYTES)
    buffers.give(larger)
    assert len(buffers.take()) == LARGE_BYTES
