"""`scripts/compare_brokers`: the same load on Apache Kafka and on this broker, side by side."""
