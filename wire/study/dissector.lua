-- Dissect the Kafka protocol in Wireshark and tshark: every API and version of Apache Kafka 4.4, in both directions.
--
--   wireshark -X lua_script:kafka.lua -o kafka_wire.ports:9092,9093
--
-- Written by `python -m wire lua`; the messages at the end come from the declarations in wire.messages, what is before
-- them is wire/study/dissector.lua, with dissector_records.lua and dissector_compression.lua in it. Fields are called
-- kafka_wire.<message>.<path>, those of records kafka_wire.batch.<field> and kafka_wire.record.<field>.
-- Secrets are not shown, nor is the log of Kafka's controllers, which holds some.

local proto = Proto("kafka_wire", "Kafka protocol, as wire declares it")
local fields = {}

local function field(make, abbr, name, ...)
  local made = make("kafka_wire." .. abbr, name, ...)
  fields[#fields + 1] = made
  return made
end

local SIZE = field(ProtoField.int32, "size", "size")
local API_KEY = field(ProtoField.int16, "api_key", "api_key")
local API_VERSION = field(ProtoField.int16, "api_version", "api_version")
local CORRELATION_ID = field(ProtoField.int32, "correlation_id", "correlation_id")
local CLIENT_ID = field(ProtoField.string, "client_id", "client_id")
local BODY = field(ProtoField.none, "body", "body")
local NULL = field(ProtoField.none, "null", "null")
local HIDDEN = field(ProtoField.none, "hidden", "hidden")
local ELEMENT = field(ProtoField.none, "element", "element")
local UNKNOWN_TAG = field(ProtoField.bytes, "unknown_tag", "tagged field of a later version")
local MALFORMED = ProtoExpert.new("kafka_wire.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)
local EXTRA = ProtoExpert.new("kafka_wire.extra", "Bytes follow the message", expert.group.MALFORMED, expert.severity.WARN)
proto.experts = { MALFORMED, EXTRA }

local WIDTHS = { bool = 1, int8 = 1, int16 = 2, uint16 = 2, int32 = 4, uint32 = 4, int64 = 8, float64 = 8, uuid = 16 }
local MAKERS = {
  bool = ProtoField.bool, int8 = ProtoField.int8, int16 = ProtoField.int16, uint16 = ProtoField.uint16,
  int32 = ProtoField.int32, uint32 = ProtoField.uint32, int64 = ProtoField.int64, float64 = ProtoField.double,
  uuid = ProtoField.bytes, string = ProtoField.string, bytes = ProtoField.bytes, records = ProtoField.bytes,
  array = ProtoField.none, struct = ProtoField.none,
}

-- Reading. `c` is a position: c.t the buffer, c.pos, c.stop, c.version, c.flexible. What does not fit is an error.

local function need(c, size, what)
  if size < 0 or size > c.stop - c.pos then
    error({ what .. " of " .. size .. " bytes, where " .. (c.stop - c.pos) .. " are left" })
  end
end

local function uvarint(c)
  local value, scale = 0, 1
  for _ = 1, 5 do
    need(c, 1, "varint")
    local byte = c.t(c.pos, 1):uint()
    c.pos = c.pos + 1
    value = value + (byte % 128) * scale
    if byte < 128 then return value end
    scale = scale * 128
  end
  error({ "varint longer than five bytes" })
end

-- Return a length, or nil for null.
local function length(c, width)
  if c.flexible then
    local n = uvarint(c)
    if n == 0 then return nil end
    return n - 1
  end
  need(c, width, "length")
  local n = c.t(c.pos, width):int()
  c.pos = c.pos + width
  if n < 0 then return nil end
  return n
end

local SENSITIVE = SENSITIVE_WORDS

local function is_sensitive(name)
  name = name:lower()
  for _, word in ipairs(SENSITIVE) do
    if name:find(word, 1, true) then return true end
  end
  return false
end

local read_struct

local function null(c, f, start, tree)
  if not (c.version >= f.null_low and c.version <= f.null_high) then
    error({ f.name .. " is null, which this version does not allow" })
  end
  tree:add(NULL, c.t(start, c.pos - start)):set_text(f.name .. ": null")
end

local function malformed(node, why)
  node:add_proto_expert_info(MALFORMED, type(why) == "table" and why[1] or tostring(why))
end

COMPRESSION

RECORDS

local METADATA_TOPIC, METADATA_TOPIC_ID = "__cluster_metadata", string.rep("00", 15) .. "01"
local is_topic_name = { topic = true, name = true }

local function inner_scope(scope)
  return {
    sensitive = scope.sensitive, is_metadata = scope.is_metadata, protocol_type = scope.protocol_type,
  }
end

-- What consumers say to each other in their groups: a version, and the message.
local data_messages = {}
local INSIDE_VERSION = field(ProtoField.int16, "inside_version", "version")
local nowhere = {}
setmetatable(nowhere, { __index = function() return function() return nowhere end end })

local function read_inside(t, start, stop, message, tree)
  local c = { t = t, pos = start, stop = stop }
  need(c, 2, "version")
  local version = t(start, 2):int()
  if version < message.low then error({ message.name .. " has no version " .. version }) end
  tree:add(INSIDE_VERSION, t(start, 2))
  c.pos, c.version = start + 2, math.min(version, message.high)
  c.flexible = c.version >= message.flexible_low and c.version <= message.flexible_high
  read_struct(c, message.fields, tree, {})
  if c.pos ~= stop and version <= message.high then error({ "bytes are left" }) end
end

local function inside(c, f, start, stop, tree, scope)
  if scope.protocol_type ~= nil and scope.protocol_type ~= "consumer" then return end
  local message = data_messages[f.inside]
  -- Members of other protocols put there what they like: it is shown only if it can be read to its end.
  if pcall(read_inside, c.t, start, stop, message, nowhere) then read_inside(c.t, start, stop, message, tree) end
end

-- Set below: tell whether a request lies there, and show it.
local is_request, request_at

local function sized(c, f, tree, scope)
  local start = c.pos
  local size = length(c, f.kind == "string" and 2 or 4)
  if size == nil then
    if f.kind == "records" then
      tree:add(NULL, c.t(start, c.pos - start)):set_text(f.name .. ": null")
      return
    end
    return null(c, f, start, tree)
  end
  need(c, size, f.name)
  local at = c.pos
  c.pos = c.pos + size
  if size > 0 and f.is_config_name then scope.sensitive = scope.sensitive or is_sensitive(c.t(at, size):string()) end
  local is_secret = f.is_secret or (f.kind == "records" and scope.is_metadata)
    or (f.is_request and not is_request(c.t, at, c.pos))
  if f.is_config_value then
    is_secret = scope.sensitive
    -- In answers, two bytes further, it is said whether the config is sensitive.
    if f.is_judged and c.stop - c.pos >= 3 and c.t(c.pos + 2, 1):uint() ~= 0 then
      is_secret, scope.sensitive = true, true
    end
  end
  if is_secret then
    tree:add(HIDDEN, c.t(start, c.pos - start)):set_text(f.name .. ": (" .. size .. " bytes, hidden)")
  elseif size == 0 then
    tree:add(f.field, c.t(start, c.pos - start), ""):set_text(f.name .. ": empty")
  else
    local node = tree:add(f.field, c.t(at, size))
    if is_topic_name[f.name] and f.kind == "string" and c.t(at, size):string() == METADATA_TOPIC then
      scope.is_metadata = true
    end
    if f.name == "protocol_type" then scope.protocol_type = c.t(at, size):string() end
    if f.inside then inside(c, f, at, at + size, node, scope) end
    if f.is_request then request_at(c.t, at, at + size, node) end
    if f.kind == "records" then
      local ok, why = pcall(batches, c.t, at, at + size, node)
      if not ok then malformed(node, why) end
    end
  end
end

local function fixed(c, f, kind, tree, scope)
  local width = WIDTHS[kind]
  need(c, width, f.name)
  tree:add(f.field, c.t(c.pos, width))
  if f.name == "topic_id" and tostring(c.t(c.pos, width):bytes()) == METADATA_TOPIC_ID then scope.is_metadata = true end
  c.pos = c.pos + width
end

local function array(c, f, tree, scope)
  local start = c.pos
  local node = tree:add(f.container, c.t(start, 0))
  local count = length(c, 4)
  if count == nil then
    node:set_hidden(true)
    return null(c, f, start, tree)
  end
  need(c, count, f.name) -- an element takes a byte at least
  node:append_text(" (" .. count .. ")")
  for index = 0, count - 1 do
    if f.fields then
      local at = c.pos
      local element = node:add(ELEMENT, c.t(at, 0)):set_text("[" .. index .. "]")
      read_struct(c, f.fields, element, inner_scope(scope))
      element:set_len(c.pos - at)
    elseif f.element == "string" then
      sized(c, { name = f.name, kind = "string", field = f.field, null_low = 1, null_high = 0 }, node, scope)
    else
      fixed(c, f, f.element, node, scope)
    end
  end
  node:set_len(c.pos - start)
end

local function read_field(c, f, tree, scope, in_tag)
  if WIDTHS[f.kind] then
    fixed(c, f, f.kind, tree, scope)
  elseif f.kind == "array" then
    array(c, f, tree, scope)
  elseif f.kind == "struct" then
    local start = c.pos
    if c.version >= f.null_low and c.version <= f.null_high then
      need(c, 1, f.name)
      local there = c.t(c.pos, 1):int()
      c.pos = c.pos + 1
      if there < 0 or (in_tag and there == 0) then return null(c, f, start, tree) end
    end
    local node = tree:add(f.field, c.t(start, 0))
    read_struct(c, f.fields, node, inner_scope(scope))
    node:set_len(c.pos - start)
  else
    sized(c, f, tree, scope)
  end
end

local function read_tags(c, known, tree, scope)
  local count = uvarint(c)
  for _ = 1, count do
    local tag = uvarint(c)
    local size = uvarint(c)
    need(c, size, "tag " .. tag)
    local stop, after = c.stop, c.pos + size
    if known[tag] then
      c.stop = after
      read_field(c, known[tag], tree, scope, true)
      if c.pos ~= after then error({ "bytes are left of tag " .. tag }) end
    elseif size > 0 then
      tree:add(UNKNOWN_TAG, c.t(c.pos, size))
    end
    c.pos, c.stop = after, stop
  end
end

read_struct = function(c, list, tree, scope)
  local tagged = {}
  for _, f in ipairs(list) do
    if c.version >= f.low and c.version <= f.high then
      if c.flexible and f.tag and c.version >= f.tag_low and c.version <= f.tag_high then
        tagged[f.tag] = f
      else
        read_field(c, f, tree, scope, false)
      end
    end
  end
  if c.flexible then read_tags(c, tagged, tree, scope) end
end

-- Frames

local messages = { request = {}, response = {} }
local API_VERSIONS, UNSUPPORTED_VERSION = 18, 35
local pending = {} -- connection -> correlation id -> request, while frames are seen for the first time
local answered = {} -- frame and correlation id -> request

local function is_known(message, version)
  return message and version >= message.low and version <= message.high
end

local function body(c, message, tree)
  c.flexible = c.version >= message.flexible_low and c.version <= message.flexible_high
  local node = tree:add(BODY, c.t(c.pos, c.stop - c.pos)):set_text(message.name .. " v" .. c.version)
  local ok, why = pcall(read_struct, c, message.fields, node, {})
  if not ok then
    malformed(node, why)
  elseif c.pos < c.stop then
    node:add_proto_expert_info(EXTRA)
  end
end

local function unknown(t, pos, tree)
  if t:len() > pos then
    tree:add(HIDDEN, t(pos)):set_text("no request that is known; it may be a SASL token")
  end
end

local function header_tags(c)
  for _ = 1, uvarint(c) do
    uvarint(c)
    local size = uvarint(c)
    need(c, size, "tag")
    c.pos = c.pos + size
  end
end

-- Show the request that lies from `at` to `stop`, and return what it is called.
request_at = function(t, at, stop, tree)
  local key, version = t(at, 2):int(), t(at + 2, 2):int()
  local message = messages.request[key]
  tree:add(API_KEY, t(at, 2)):append_text(" (" .. message.api .. ")")
  tree:add(API_VERSION, t(at + 2, 2))
  tree:add(CORRELATION_ID, t(at + 4, 4))
  local c = { t = t, pos = at + 10, stop = stop, version = version }
  local size = t(at + 8, 2):int()
  if size > 0 and size <= stop - c.pos then tree:add(CLIENT_ID, t(c.pos, size)) end
  local ok = pcall(function()
    need(c, math.max(size, 0), "client_id")
    c.pos = c.pos + math.max(size, 0)
    if version >= message.flexible_low and version <= message.flexible_high then header_tags(c) end
  end)
  if ok then body(c, message, tree) else tree:add_proto_expert_info(MALFORMED, "the header cannot be read") end
  return message.api .. " v" .. version
end

local MIN_REQUEST_BYTES, ENVELOPE = 10, 58

-- Of what an Envelope holds: another one would be refused.
is_request = function(t, at, stop)
  if stop - at < MIN_REQUEST_BYTES or t(at, 2):int() == ENVELOPE then return false end
  return is_known(messages.request[t(at, 2):int()], t(at + 2, 2):int())
end

local function request(t, tree, pinfo, connection)
  if t:len() < 4 + MIN_REQUEST_BYTES then return unknown(t, 4, tree) end
  local key, version, id = t(4, 2):int(), t(6, 2):int(), t(8, 4):int()
  if not is_known(messages.request[key], version) then
    if key == API_VERSIONS then
      pending[connection] = pending[connection] or {}
      pending[connection][id] = { key = key, version = 0 }
    end
    return unknown(t, 4, tree)
  end
  if not pinfo.visited then
    pending[connection] = pending[connection] or {}
    pending[connection][id] = { key = key, version = version }
  end
  pinfo.cols.info:append(" " .. request_at(t, 4, t:len(), tree) .. " request")
end

local function response(t, tree, pinfo, connection)
  if t:len() < 8 then return unknown(t, 4, tree) end
  local id = t(4, 4):int()
  local place = pinfo.number .. ":" .. id
  local asked = answered[place]
  if not asked and pending[connection] then
    asked = pending[connection][id]
    pending[connection][id] = nil
    answered[place] = asked
  end
  if not asked then return unknown(t, 4, tree) end
  tree:add(CORRELATION_ID, t(4, 4))
  local message, version = messages.response[asked.key], asked.version
  if asked.key == API_VERSIONS and t:len() >= 10 and t(8, 2):int() == UNSUPPORTED_VERSION then version = 0 end
  local c = { t = t, pos = 8, stop = t:len(), version = version }
  if asked.key ~= API_VERSIONS and version >= message.flexible_low and version <= message.flexible_high then
    if not pcall(header_tags, c) then return tree:add_proto_expert_info(MALFORMED, "the header cannot be read") end
  end
  pinfo.cols.info:append(" " .. message.api .. " v" .. version .. " response")
  body(c, message, tree)
end

local function frame(t, pinfo, root)
  local tree = root:add(proto, t())
  tree:add(SIZE, t(0, 4))
  frame_decompressed_bytes = 0
  local source = tostring(pinfo.src) .. ":" .. pinfo.src_port
  local target = tostring(pinfo.dst) .. ":" .. pinfo.dst_port
  if pinfo.dst_port == pinfo.match_uint then
    request(t, tree, pinfo, source .. ">" .. target)
  else
    response(t, tree, pinfo, target .. ">" .. source)
  end
  return t:len()
end

local MAX_FRAME_BYTES = 134217728

local function frame_bytes(t, pinfo, offset)
  local size = t(offset, 4):int()
  if size < 0 or size > MAX_FRAME_BYTES then return t:len() - offset end
  return 4 + size
end

function proto.dissector(t, pinfo, root)
  pinfo.cols.protocol = "Kafka"
  pinfo.cols.info = ""
  dissect_tcp_pdus(t, root, 4, frame_bytes, frame)
  return t:len()
end

function proto.init()
  pending, answered = {}, {}
end

-- Messages

local ERRORS = ERROR_NAMES

local function prepare(list, prefix)
  for _, f in ipairs(list) do
    local abbr = prefix .. "." .. f.name
    if f.kind == "array" then
      f.container = field(ProtoField.none, abbr .. ".count", f.name)
      if f.fields then prepare(f.fields, abbr) else f.field = field(MAKERS[f.element], abbr, f.name) end
    else
      if f.kind == "int16" and f.name:find("error_code$") then
        f.field = field(MAKERS[f.kind], abbr, f.name, base.DEC, ERRORS)
      else
        f.field = field(f.is_request and ProtoField.none or MAKERS[f.kind], abbr, f.name) -- its bytes may be secret
      end
      if f.fields then prepare(f.fields, abbr) end
    end
  end
end

-- name, kind, versions, versions where it may be null, and by name what only some have
local function F(name, kind, low, high, null_low, null_high, more)
  local f = more or {}
  f.name, f.kind, f.low, f.high, f.null_low, f.null_high = name, kind, low, high, null_low, null_high
  return f
end

local function D(name, low, high, flexible_low, flexible_high, list)
  prepare(list, name)
  data_messages[name] = {
    name = name, low = low, high = high, flexible_low = flexible_low, flexible_high = flexible_high, fields = list,
  }
end

local function M(direction, key, api, name, low, high, flexible_low, flexible_high, list)
  prepare(list, name)
  messages[direction][key] = {
    api = api, name = name, low = low, high = high,
    flexible_low = flexible_low, flexible_high = flexible_high, fields = list,
  }
end

MESSAGES
proto.fields = fields
local tcp_ports = DissectorTable.get("tcp.port")
tcp_ports:add_for_decode_as(proto)

-- Ports that belong to brokers; none at first, for Wireshark has a dissector of its own.
proto.prefs.ports = Pref.range("TCP ports", "", "Ports that brokers listen on", 65535)
local ports = ""

function proto.prefs_changed()
  if ports == proto.prefs.ports then return end
  if ports ~= "" then tcp_ports:remove(ports, proto) end
  ports = proto.prefs.ports
  if ports ~= "" then tcp_ports:add(ports, proto) end
end
