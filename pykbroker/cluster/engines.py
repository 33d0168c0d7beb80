"""Opens the store that `pykbroker.store` names, where it is another than the broker's own file.

Not here: the forms of that configuration (config_tables/store_location), the engines (sqlite_store, etcd_store).
"""

from pathlib import Path

from pykbroker.clock import Clock
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Store
from pykbroker.config import BrokerConfig
from pykbroker.config_tables.store_location import parse_store
from pykbroker.errors import StorageError

ETCD_MEMORY_FILE = "etcd.json"  # which etcd a broker has seen, and how far


def open_store(config: BrokerConfig, data_dir: Path, clock: Clock, *, is_ephemeral: bool) -> Store:
    """Raises: StorageError, if what the store needs is not here."""
    location = parse_store(config.pykbroker_store)
    assert location is not None, "the broker's own file needs none of this"
    if isinstance(location, Path):
        return SqliteStore(location, clock, shared=True, ephemeral=is_ephemeral)
    try:
        from pykbroker.cluster.etcd_store import EtcdStore
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        needed = f"the store {config.pykbroker_store} needs httpx: pip install 'pykbroker[cluster]'"
        raise StorageError(needed) from error
    return EtcdStore(
        location.endpoints,
        location.root,
        str(config.node_id),
        clock,
        timeout_ms=config.pykbroker_store_timeout_ms,
        memory=data_dir / ETCD_MEMORY_FILE,
    )
