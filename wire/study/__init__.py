"""Explain the protocol and what was said in it, without any I/O but for the commands.

- trees of bytes: `walk` (messages), `records`, `contents` (what is inside of bytes), `frames`, `segments`; `tree`,
  `explain`, `secrets`
- recordings: `inputs`, `exchanges` (frames of connections), `trace`, `pcap` with `streams`, `pcapng`
- messages: `describe`, with `comments`
- two brokers: `compare`, `translate`; addresses in answers: `endpoints`
- Wireshark: `lua`, with dissector.lua and dissector_records.lua
- output: `lines`, `show_tree`, `show_description`, `summary`; `commands`, `decode_command`
"""
