"""Our own cluster: `pykbroker start --node-id N --store URL` from this working copy, a process per broker.

Rules: stock settings but for what the caller gives. Unless the caller names a store, the brokers share an SQLite file
       in the cluster's directory.

    with start_our_cluster(directory, nodes=3, properties={"num.partitions": "6"}) as cluster:
        cluster.bootstrap, cluster.pids, cluster.kill(2), cluster.start(2)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field

from cluster import Cluster, Node, Place, free_ports, tail


class Uncounted(Exception):
    """A broker that stopped cleanly did not say how many bugs it counted."""


@define
class OurCluster(Cluster):
    """See Cluster. `store` is what `--store` takes."""

    store: str = field(kw_only=True)
    properties: Mapping[str, str] = field(kw_only=True, factory=dict)

    @property
    def name(self) -> str:
        return "pykbroker"

    def command(self, node: Node) -> list[str]:
        command = [sys.executable, "-m", "pykbroker", "start", "--node-id", str(node.id), "--store", self.store]
        command += ["--host", node.place.host, "--port", str(node.port), "--data-dir", str(node.data_dir)]
        for name, value in self.properties.items():
            command += ["--set", f"{name}={value.replace('{id}', str(node.id))}"]
        return command

    def bugs_total(self) -> int:
        """Return the sum of the counters that the brokers printed each time they stopped. Raises: Uncounted."""
        total = 0
        for node in self.nodes:
            log = node.log.read_text(errors="replace") if node.log.exists() else ""
            if not (found := re.findall(r"bugs_total=(\d+)", log)):
                raise Uncounted(f"node {node.id} printed no bugs_total when it stopped:\n{tail(node.log)}")
            total += sum(map(int, found))
        return total


def start_our_cluster(
    directory: Path,
    *,
    nodes: int = 3,
    properties: Mapping[str, str] | None = None,
    ports: Sequence[int] = (),
    places: Sequence[Place] = (),
    store: str | None = None,
    wait: bool = True,
) -> OurCluster:
    """Start a new cluster in `directory`.

    Node ids count from 1. "{id}" in a property's value stands for the node's id. With `wait=False` the processes are
    started, and wait_ready() is the caller's to call. Raises: Unavailable.
    """
    directory.mkdir(parents=True, exist_ok=True)
    client_ports = list(ports) or free_ports(nodes)
    cluster = OurCluster(
        nodes=[
            Node(index + 1, client_ports[index], directory / f"node{index + 1}", places[index] if places else Place())
            for index in range(nodes)
        ],
        store=store or f"sqlite:{directory / 'metadata.sqlite'}",
        properties=properties or {},
    )
    try:
        for node in cluster.nodes:
            cluster.launch(node.id)
        if wait:
            cluster.wait_ready()
    except BaseException:
        cluster.stop()
        raise
    return cluster
