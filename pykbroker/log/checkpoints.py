"""The small text files of a log directory and of a partition, in Kafka's formats.

Format
- `*-offset-checkpoint`: lines `0`, the number of entries, then `topic partition offset` each.
- `meta.properties`: Java properties `version=1`, `cluster.id`, `node.id`, `directory.id`.
- `partition.metadata`: lines `version: 0`, `topic_id: <uuid>`.
- `.kafka_cleanshutdown`: JSON, there only while a broker that stopped cleanly is down.

Rules: each is replaced by way of a temporary file. One that is cut or garbage counts as missing, with a line in the
log; what it said is learned from the segments.

Sources: Kafka's OffsetCheckpointFile, MetaProperties (KIP-858), PartitionMetadataFile (KIP-516),
CleanShutdownFileHandler.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pykbroker.log.files import write_atomically
from pykbroker.topic_partition import TopicPartition
from wire.primitives import parse_uuid, uuid_text
from wire.schema import Uuid

logger = logging.getLogger(__name__)

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
LOG_START_OFFSETS = "log-start-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
CLEANED_UP_TO = "cleaner-offset-checkpoint"  # where the dirty part of compacted logs begins
META_PROPERTIES = "meta.properties"
PARTITION_METADATA = "partition.metadata"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"


def write_offsets(path: Path, offsets: Mapping[TopicPartition, int], *, sync: bool) -> None:
    """Raises: OSError."""
    lines = ["0", str(len(offsets))]
    lines += (f"{tp.topic} {tp.partition} {offset}" for tp, offset in offsets.items())
    write_atomically(path, ("\n".join(lines) + "\n").encode(), sync=sync)


def read_offsets(path: Path) -> dict[TopicPartition, int]:
    """Raises: OSError."""
    try:
        version, count, *lines = path.read_text().splitlines()
        if version != "0" or int(count) != len(lines):
            raise ValueError("another version or length")
        offsets = {}
        for line in lines:
            topic, partition, offset = line.split(" ")
            offsets[TopicPartition(topic, int(partition))] = int(offset)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        if path.stat().st_size:  # Kafka makes some of them empty
            logger.warning("%s is not readable (%s): ignored", path, error)
        return {}
    return offsets


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Raises: OSError."""
    now = datetime.now(UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
    lines = ["#", f"#{now}", *(f"{name}={value}" for name, value in properties.items())]
    write_atomically(path, ("\n".join(lines) + "\n").encode(), sync=True)


def read_properties(path: Path) -> dict[str, str]:
    """Raises: OSError, ValueError."""
    properties = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith(("#", "!")):
            name, separator, value = line.partition("=")
            if not separator:
                raise ValueError(f"not a property: {line!r}")
            properties[name.strip()] = value.strip()
    return properties


def write_topic_id(directory: Path, topic_id: Uuid) -> None:
    """Raises: OSError."""
    # Written once, into a directory that is new: no temporary file, as ten thousand may be written in a row.
    (directory / PARTITION_METADATA).write_bytes(f"version: 0\ntopic_id: {uuid_text(topic_id)}".encode())


def read_topic_id(directory: Path) -> Uuid | None:
    """Return None where the file is missing, cut or garbage. Raises: OSError."""
    path = directory / PARTITION_METADATA
    try:
        version, topic_id = path.read_text().splitlines()
        if version != "version: 0" or not topic_id.startswith("topic_id: "):
            raise ValueError("not a version and a topic id")
        return parse_uuid(topic_id.removeprefix("topic_id: "))
    except FileNotFoundError:
        return None
    except ValueError as error:
        logger.warning("%s is not readable: %s", path, error)
        return None


def write_clean_shutdown(directory: Path, broker_epoch: int = -1) -> None:
    """Raises: OSError."""
    told = {"version": 0, "brokerEpoch": broker_epoch}
    write_atomically(directory / CLEAN_SHUTDOWN, json.dumps(told).encode(), sync=True)


def read_clean_shutdown(directory: Path) -> int:
    """Return the broker epoch of the last clean stop (KIP-966); -1: there was none, or it is not told."""
    try:
        return int(json.loads((directory / CLEAN_SHUTDOWN).read_bytes())["brokerEpoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
