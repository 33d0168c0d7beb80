"""What a topic may be called, and the names of Kafka's own topics."""

import re

from pykbroker.errors import KafkaError
from wire.errors import ErrorCode

MAX_NAME_LENGTH = 249  # the longest folder name is 255, less the partition's number and what marks a deleted folder

CONSUMER_OFFSETS = "__consumer_offsets"
TRANSACTION_STATE = "__transaction_state"
SHARE_GROUP_STATE = "__share_group_state"
INTERNAL_TOPICS = frozenset({CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE})

_NAME = re.compile(r"[a-zA-Z0-9._-]+")


def is_valid_topic_name(name: str) -> bool:
    return name not in (".", "..") and len(name) <= MAX_NAME_LENGTH and _NAME.fullmatch(name) is not None


def check_topic_name(name: str) -> None:
    """Raises: INVALID_TOPIC_EXCEPTION."""
    if not name:
        wrong = "it is empty"
    elif name in (".", ".."):
        wrong = f"{name} means a directory"
    elif len(name) > MAX_NAME_LENGTH:
        wrong = f"{name} has {len(name)} characters, {MAX_NAME_LENGTH} are the most"
    elif not _NAME.fullmatch(name):
        wrong = f"{name} has more in it than ASCII letters, digits, '.', '_' and '-'"
    else:
        return
    raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"not a name for a topic: {wrong}")
