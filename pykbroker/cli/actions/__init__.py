"""What the commands do, once their words are understood. Not here: options, help and completion (the modules above)."""
