"""All messages of the protocol, a module per family; `wire.catalog` finds the module of an API.

Within a module: a request, its response, before each the structs that it holds. A class serves all versions of its
message; its docstring says what each version brought. Fields that mean the same everywhere have no comment:

- `error_code`: an ErrorCode, 0 for success; `error_message`: for people, null where the code says it all
- `throttle_time_ms`: for how long a quota holds the client back. Until some version of each API (KIP-219) the broker
  answered after the pause, since then before it, and the client itself stays quiet.
- `topic_id`, `name`: a topic, by its id or its name; where both are declared, one of them exists in each version
- `group_id`, `member_id`, `group_instance_id` (a static member's name, KIP-345; null for dynamic members)
- `producer_id`, `producer_epoch`, `transactional_id`: the producer (KIP-98)
- `replica_nodes`, `leader_id`, `node_id` and the like: broker ids
- `unknown_tags`: tagged fields of a later version than ours, kept as they came
"""
