-- Record batches, a part of dissector.lua. Numbers in records are zigzag varints of up to 32 or 64 bits.

local BATCH = field(ProtoField.none, "batch", "record batch")
local BATCH_HEADER = {
  { "base_offset", "int64" }, { "batch_length", "int32" }, { "partition_leader_epoch", "int32" }, { "magic", "int8" },
  { "crc", "uint32" }, { "attributes", "int16" }, { "last_offset_delta", "int32" }, { "base_timestamp", "int64" },
  { "max_timestamp", "int64" }, { "producer_id", "int64" }, { "producer_epoch", "int16" }, { "base_sequence", "int32" },
  { "record_count", "int32" },
}
for _, row in ipairs(BATCH_HEADER) do
  row.field = field(MAKERS[row[2]], "batch." .. row[1], row[1])
end
local BATCH_RECORDS = field(ProtoField.bytes, "batch.records", "compressed records")
local RECORD = field(ProtoField.none, "record", "record")
local RECORD_LENGTH = field(ProtoField.int32, "record.length", "length")
local RECORD_ATTRIBUTES = field(ProtoField.int8, "record.attributes", "attributes")
local TIMESTAMP_DELTA = field(ProtoField.int64, "record.timestamp_delta", "timestamp_delta")
local OFFSET_DELTA = field(ProtoField.int32, "record.offset_delta", "offset_delta")
local OFFSET = field(ProtoField.int64, "record.offset", "offset")
local RECORD_KEY = field(ProtoField.bytes, "record.key", "key")
local RECORD_VALUE = field(ProtoField.bytes, "record.value", "value")
local HEADER_COUNT = field(ProtoField.int32, "record.header_count", "header_count")
local HEADER = field(ProtoField.none, "record.header", "header")
local HEADER_KEY = field(ProtoField.string, "record.header.key", "key")
local HEADER_VALUE = field(ProtoField.bytes, "record.header.value", "value")


local function zigzag(c, max_bytes)
  local value = UInt64.new(0)
  for index = 0, max_bytes - 1 do
    need(c, 1, "varint")
    local byte = c.t(c.pos, 1):uint()
    c.pos = c.pos + 1
    value = value + UInt64.new(byte % 128):lshift(7 * index)
    if byte < 128 then
      local half = value:rshift(1)
      local number = Int64.new(half:lower(), half:higher())
      if value:band(1) == UInt64.new(1) then number = -number - 1 end
      return number
    end
  end
  error({ "varint longer than " .. max_bytes .. " bytes" })
end

-- Show a number, and return it.
local function number(c, f, max_bytes, tree)
  local start = c.pos
  local value = zigzag(c, max_bytes)
  local shown = value
  if max_bytes == 5 then shown = value:tonumber() end
  tree:add(f, c.t(start, c.pos - start), shown)
  return shown
end

local function printable(text)
  if #text > 60 or text:find("[^\32-\126]") then return "" end
  return '  "' .. text .. '"'
end

-- Show what a length precedes. A length of -1 is null.
local function sized_bytes(c, f, name, tree)
  local start = c.pos
  local size = zigzag(c, 5):tonumber()
  if size == -1 then
    tree:add(NULL, c.t(start, c.pos - start)):set_text(name .. ": null")
    return nil
  end
  need(c, size, name)
  local at = c.pos
  c.pos = c.pos + size
  if size == 0 then
    tree:add(f, c.t(start, c.pos - start), ""):set_text(name .. ": empty")
  elseif f == HEADER_KEY then
    tree:add(f, c.t(at, size))
  else
    tree:add(f, c.t(at, size)):append_text(printable(c.t(at, size):raw()))
  end
  return size
end

local function record(c, base_offset, tree)
  local node = tree:add(RECORD, c.t(c.pos, 0))
  local start = c.pos
  local size = number(c, RECORD_LENGTH, 5, node)
  need(c, size, "record")
  local stop, after = c.stop, c.pos + size
  c.stop = after
  need(c, 1, "attributes")
  node:add(RECORD_ATTRIBUTES, c.t(c.pos, 1))
  c.pos = c.pos + 1
  number(c, TIMESTAMP_DELTA, 10, node)
  local offset = base_offset + number(c, OFFSET_DELTA, 5, node)
  node:add(OFFSET, c.t(start, 0), offset):set_generated(true)
  node:set_text("record at offset " .. tostring(offset))
  sized_bytes(c, RECORD_KEY, "key", node)
  sized_bytes(c, RECORD_VALUE, "value", node)
  local count = number(c, HEADER_COUNT, 5, node)
  if count < 0 or count * 2 > c.stop - c.pos then error({ "a record of " .. count .. " headers" }) end
  for _ = 1, count do
    local at = c.pos
    local header = node:add(HEADER, c.t(at, 0)):set_text("header")
    if sized_bytes(c, HEADER_KEY, "key", header) == nil then error({ "a record header without a name" }) end
    sized_bytes(c, HEADER_VALUE, "value", header)
    header:set_len(c.pos - at)
  end
  if c.pos ~= after then error({ "bytes are left of a record" }) end
  c.stop = stop
  node:set_len(after - start)
end

local function records(c, base_offset, count, tree)
  if count < 0 then error({ count .. " records" }) end
  for _ = 1, count do record(c, base_offset, tree) end
  if c.pos ~= c.stop then error({ "bytes follow the last record" }) end
end

local function compressed_records(range, codec, base_offset, count, tree)
  local node = tree:add(BATCH_RECORDS, range)
  local ok, made = pcall(decompressed, codec, range)
  if ok then
    records({ t = made, pos = 0, stop = made:len() }, base_offset, count, node)
  elseif type(made) == "table" and made.is_limit then
    node:append_text(" (" .. made[1] .. ")")
  else
    malformed(node, made)
  end
end

local function batch(t, start, size, tree)
  local node = tree:add(BATCH, t(start, size))
  local at = start
  for _, row in ipairs(BATCH_HEADER) do
    local width = WIDTHS[row[2]]
    node:add(row.field, t(at, width))
    at = at + width
  end
  local base_offset, attributes, count = t(start, 8):int64(), t(start + 21, 2):uint(), t(start + 57, 4):int()
  node:set_text("record batch at offset " .. tostring(base_offset) .. ", " .. count .. " records")
  if attributes % 8 ~= 0 and size > 61 then
    return compressed_records(t(at, start + size - at), attributes % 8, base_offset, count, node)
  end
  records({ t = t, pos = at, stop = start + size }, base_offset, count, node)
end

-- What is cut short at the end is no error: a fetch asks for so many bytes. Formats before 2 stay bytes.
local function batches(t, start, stop, tree)
  while stop - start > 16 do
    local size, magic = t(start + 8, 4):int() + 12, t(start + 16, 1):uint()
    if size < (magic == 2 and 61 or 16) then error({ "a record batch of " .. size .. " bytes" }) end
    if size > stop - start then return end
    if magic == 2 then batch(t, start, size, tree) end
    start = start + size
  end
end
