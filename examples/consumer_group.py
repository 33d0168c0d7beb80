"""Watch a consumer group share six partitions: one member, then two, then one again.

python consumer_group.py [HOST:PORT]
"""

import sys

from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, NewTopic

bootstrap = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
PARTITIONS = 6


def join() -> KafkaConsumer:
    return KafkaConsumer("measurements", bootstrap_servers=bootstrap, group_id="workers", heartbeat_interval_ms=200)


def poll_until_shared(*members: KafkaConsumer) -> None:
    """Let the members poll, as each would in a process of its own, until every one has its share."""
    while any(len(member.assignment()) != PARTITIONS // len(members) for member in members):
        for member in members:
            member.poll(timeout_ms=100)
    for name, member in zip("AB", members, strict=False):
        print(f"{name} has partitions {sorted(partition.partition for partition in member.assignment())}")


admin = KafkaAdminClient(bootstrap_servers=bootstrap)
admin.create_topics([NewTopic("measurements", num_partitions=PARTITIONS, replication_factor=1)])

first = join()
poll_until_shared(first)
second = join()
poll_until_shared(first, second)
second.close()
poll_until_shared(first)
first.close()
admin.close()
