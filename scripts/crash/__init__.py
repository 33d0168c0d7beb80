"""`scripts/kill9`: kill a broker under load, start it again, and look for everything that it had acknowledged."""
