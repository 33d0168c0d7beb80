"""Kafka's own tools as scripts/ start them: what they print on standard output is records, and nothing else."""

import subprocess

import pytest
from clients import Unavailable
from kafka import KafkaProducer
from support import kafka_tools

from pykbroker.embedded import ThreadedCluster

pytestmark = [pytest.mark.slow, pytest.mark.parallel, pytest.mark.xdist_group("maven")]


def test_error_that_is_logged_is_not_among_the_records(kafka: ThreadedCluster, kafka_topic: str) -> None:
    options = ("--bootstrap-server", kafka.bootstrap, "--topic", kafka_topic, "--from-beginning", "--max-messages", "1")
    try:
        command = kafka_tools.java("consumer.ConsoleConsumer", *options)
    except Unavailable as error:
        pytest.skip(str(error))
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    producer.send(kafka_topic, b"a record").get(10)
    producer.close()
    with kafka.faults(api="LeaveGroup", error="NOT_COORDINATOR"):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "a record\n"
    assert "LeaveGroup" in done.stderr
