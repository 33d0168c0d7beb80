"""Where the other brokers of the cluster listen for brokers, as far as the metadata tells."""

from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig


def address_of(broker_id: int, config: BrokerConfig, cluster: Cluster) -> tuple[str, int] | None:
    """Return the host and the port at which brokers reach a broker; None if it is not known."""
    broker = cluster.image.brokers.get(broker_id)
    if broker is None:
        return None
    endpoint = broker.endpoint_for_brokers(config.inter_broker_listener_effective)
    return None if endpoint is None else (endpoint.host, endpoint.port)
