"""`scripts/torture`: thousands of malformed frames of every kind, while an ordinary client is served."""
