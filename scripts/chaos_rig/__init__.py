"""`scripts/chaos`: hurt a cluster at random under load, and look for everything that it had acknowledged."""
