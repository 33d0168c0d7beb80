"""What several scripts need: starting brokers, and a protocol client that shares no code with the product."""
