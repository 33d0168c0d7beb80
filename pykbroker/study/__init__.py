"""Look at the traffic of brokers while it happens: tracing a broker, a proxy before any broker, replaying a recording.

Nothing of it is imported until it is asked for. Not here: what the frames mean (wire.study).
"""
