"""What the client raises besides `KafkaError`, the answer of a broker."""


class NoBrokerError(Exception):
    """None of the bootstrap addresses answers."""


class NotServedError(Exception):
    """The broker is of another version: it does not serve the request, or not with what was asked for."""
