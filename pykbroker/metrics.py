"""Counters of the broker: plain ints that the hot path adds to; whoever exports them reads them.

Rules: a counter only grows; `bugs_total` counts answers of UNKNOWN_SERVER_ERROR, each of which is a bug of ours.
"""

import attrs


@attrs.define
class Metrics:
    requests_total: int = 0
    bytes_in_total: int = 0
    bytes_out_total: int = 0
    protocol_errors_total: int = 0
    bugs_total: int = 0
    connections: int = 0  # open now
    connections_total: int = 0
    connections_refused_total: int = 0
