"""Updates of a compacted topic, and what the commands bench_cleaner and kill_cleaner do with them."""
