"""`scripts/exactly_once`: transactions and Kafka Streams while brokers are killed, and each record counts once."""
