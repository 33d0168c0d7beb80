"""The recorded frames of Apache Kafka as what a trace would hold."""

import functools

from golden.frames import read_frames, recording

from wire.study.exchanges import TracedFrame


@functools.cache
def golden_frames() -> tuple[TracedFrame, ...]:
    """All recorded requests, each with its answer behind it."""
    return tuple(recording(read_frames()))
