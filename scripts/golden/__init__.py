"""The same calls to any broker, its answers as golden frames, and what is different between two brokers' answers."""
