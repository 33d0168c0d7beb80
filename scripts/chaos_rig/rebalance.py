"""Move leaders to where they are preferred, so that every broker has some to lose."""

from __future__ import annotations

import sys

from attrs import define, field
from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient

ELECT_S = 10.0


@define
class Rebalance:
    """Does so as well as that goes each time it is called."""

    bootstrap: str
    _admin: AdminClient | None = field(default=None, init=False)

    def __call__(self) -> None:
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            self._admin.elect_leaders(ElectionType.PREFERRED, None).result(ELECT_S)
        except (KafkaException, TimeoutError) as error:
            print(f"preferred leaders were not elected: {error}", file=sys.stderr)
