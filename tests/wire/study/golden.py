"""The recorded frames of Apache Kafka as what a trace would hold."""

import functools

from golden.frames import read_frames

from wire.catalog import API_BY_NAME
from wire.study.exchanges import Direction, TracedFrame

CONNECTION = "127.0.0.1:9092-127.0.0.1:50000-0"
STEP_US = 1000
FIRST_US = 1_700_000_000_000_000


@functools.cache
def golden_frames() -> tuple[TracedFrame, ...]:
    """All recorded requests, each with its answer behind it."""
    frames = []
    for call in read_frames():
        key = API_BY_NAME[call.name].key
        for direction, data in ((Direction.REQUEST, call.sent), (Direction.RESPONSE, call.received)):
            assert data is not None
            time_us = FIRST_US + len(frames) * STEP_US
            frames.append(TracedFrame(time_us, CONNECTION, "127.0.0.1:50000", direction, key, call.version, data))
    return tuple(frames)
