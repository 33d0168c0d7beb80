"""Transactions in etcd's form: what of it etcd refuses or limits, said in a way that it takes.

Rules
- Of a key etcd takes one operation per transaction. Of the store's operations the later one wins: what is put over
  earlier is left out, and a range that is deleted is cut around the keys that are put into it later.
- etcd takes 128 comparisons and operations along a path of nested transactions (`--max-txn-ops`), but any number of
  siblings: more than `WIDTH` are nested, up to `WIDTH` to the power of `DEPTH`.

Not here: who sends them (etcd_store).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pykbroker.cluster.etcd_client import decode, encode
from pykbroker.cluster.store import Delete, DeletePrefix, Operation, Put
from pykbroker.errors import StorageError

WIDTH = 40
DEPTH = 3

Json = Mapping[str, Any]
Range = tuple[bytes, bytes]  # end exclusive


def operations_of(operations: Iterable[Operation], data_root: bytes) -> list[Json]:
    """Return the operations that have the same effect in any order."""
    puts: dict[bytes, Put] = {}
    deleted: list[Range] = []
    for operation in operations:
        match operation:
            case Put(key):
                puts[data_root + key.encode()] = operation
            case Delete(key):
                raw = data_root + key.encode()
                puts.pop(raw, None)
                deleted.append((raw, raw + b"\0"))
            case DeletePrefix(prefix):
                raw = data_root + prefix.encode()
                puts = {key: put for key, put in puts.items() if not key.startswith(raw)}
                deleted.append((raw, range_end(raw)))
    made = [put_request(key, put.value, put.lease) for key, put in puts.items()]
    names = sorted(puts)
    for start, end in dict.fromkeys(piece for whole in deleted for piece in _around(whole, names)):
        made.append({"request_delete_range": {"key": encode(start), "range_end": encode(end), "prev_kv": True}})
    return made


def put_request(key: bytes, value: bytes, lease: int = 0) -> Json:
    return {"request_put": {"key": encode(key), "value": encode(value), "lease": str(lease)}}


def revision_is(key: bytes, revision: int) -> Json:
    """The comparison; revision 0 stands for a key that is not there."""
    return {"key": encode(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def nothing_newer(prefix: bytes, revision: int) -> Json:
    """The comparison: of the keys with this prefix none was written after `revision`."""
    end = encode(range_end(prefix))
    return {
        "key": encode(prefix),
        "range_end": end,
        "target": "MOD",
        "result": "LESS",
        "mod_revision": str(revision + 1),
    }


def nested(operations: Sequence[Json]) -> list[Json]:
    """Return at most `WIDTH` operations that do the same."""
    if len(operations) > WIDTH**DEPTH:
        raise StorageError(f"a transaction has {len(operations)} operations, etcd is given up to {WIDTH**DEPTH}")
    level = list(operations)
    while len(level) > WIDTH:
        level = [{"request_txn": {"success": level[at : at + WIDTH]}} for at in range(0, len(level), WIDTH)]
    return level


def deleted_keys(responses: Iterable[Json]) -> Iterator[bytes]:
    """Return the keys that were deleted, given the responses to the operations."""
    for response in responses:
        if "response_txn" in response:
            yield from deleted_keys(response["response_txn"].get("responses", ()))
        for pair in response.get("response_delete_range", {}).get("prev_kvs", ()):
            yield decode(pair["key"])


def range_end(prefix: bytes) -> bytes:
    """Return the first key behind all keys with this prefix. Text in UTF-8 has no byte that cannot be raised."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _around(whole: Range, keys: Sequence[bytes]) -> Iterator[Range]:
    """Return the pieces of a range that hold none of the keys, which are in order."""
    start, end = whole
    for key in keys:
        if start <= key < end:
            if start < key:
                yield start, key
            start = key + b"\0"
    if start < end:
        yield start, end
