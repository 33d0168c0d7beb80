"""Whose a log directory is: its lock, `meta.properties`, and the logs that a new cluster would know nothing of.

Rules
- A directory is locked as long as it is open: by an OFD lock, which excludes this process, others, and Kafka's JVM.
- A directory without `meta.properties` is new, and gets an id of its own.

Sources: Kafka's LogManager (locks), MetaPropertiesEnsemble (KIP-858).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pykbroker.errors import StorageError
from pykbroker.log import checkpoints
from pykbroker.log.storage import LogDirectory
from wire.primitives import parse_uuid, random_uuid, uuid_text

if TYPE_CHECKING:  # imported with the first partition: a new broker answers sooner without it
    from pykbroker.log.partition_log import PartitionLog

LOCK = ".lock"
KAFKAS_METADATA = "__cluster_metadata-0"  # Apache Kafka keeps there what our store has


def lock(directory: LogDirectory) -> int:
    """Return the descriptor that holds the lock. Raises: OSError; StorageError where somebody else has it."""
    fd = os.open(directory.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if hasattr(fcntl, "F_OFD_SETLK"):
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise StorageError(f"{directory.path} is in use by another broker (its .lock file is locked)") from error
        raise
    return fd


def read(directory: LogDirectory, node_id: int) -> str | None:
    """Learn the directory's id; return its cluster's, None where it is new. Raises: OSError, StorageError."""
    meta = directory.path / checkpoints.META_PROPERTIES
    try:
        properties = checkpoints.read_properties(meta)
        owner = int(properties.get("node.id", node_id))
        known_id = properties.get("directory.id")
        directory.directory_id = random_uuid() if known_id is None else parse_uuid(known_id)
    except FileNotFoundError:
        directory.directory_id = random_uuid()
        return None
    except ValueError as error:
        raise StorageError(f"{meta} is not readable: {error}") from error
    if owner != node_id:
        raise StorageError(f"{directory.path} belongs to node {owner}, but node.id is {node_id}")
    return properties.get("cluster.id")


def write(directory: LogDirectory, node_id: int, cluster_id: str) -> None:
    """Say whose the directory is. Raises: StorageError."""
    wanted = {
        "cluster.id": cluster_id,
        "directory.id": uuid_text(directory.directory_id),
        "node.id": str(node_id),
        "version": "1",
    }
    path = directory.path / checkpoints.META_PROPERTIES
    try:
        if not path.exists() or checkpoints.read_properties(path) != wanted:
            checkpoints.write_properties(path, wanted)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}") from error


def foreign_data(logs: Sequence[PartitionLog]) -> str:
    """Say to a person why these logs are not for a cluster that is new; empty: there are none."""
    folders = sorted({log.log_directory.path for log in logs})
    for folder in folders:
        if (folder / KAFKAS_METADATA).exists():
            return (
                f"{folder} has topics of Apache Kafka, whose metadata ({KAFKAS_METADATA}) is not read here; "
                "give pykbroker a folder of its own (log.dirs, --data-dir)"
            )
    if not folders:
        return ""
    return (
        f"{folders[0]} has logs, but the store of the metadata is empty: restore it (metadata.sqlite, etcd), "
        "or give pykbroker an empty folder"
    )
