-- What batches are compressed with, a part of dissector.lua, in the framings of Kafka's clients. Wireshark lends Lua its
-- zlib, and its zstd from 4.4 on. LZ4 and Snappy, which copy pieces of what they have written, are read here.

local MAX_DECOMPRESSED_BYTES = 8 * 1024 * 1024 -- of a batch, where it is read here
local MAX_DECOMPRESSED_FRAME_BYTES = 64 * 1024 * 1024
local frame_decompressed_bytes = 0 -- so far, of the frame that is shown
local GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
local CODEC_NAMES = { "gzip", "snappy", "lz4", "zstd" }

-- `s`: a position in compressed bytes: s.data, s.pos, s.stop. `out`: bytes, of which there are out.count.

local function little_endian(s, size)
  if size > s.stop - s.pos then error({ "compressed data ends too early" }) end
  local value = 0
  for index = size - 1, 0, -1 do value = value * 256 + s.data:byte(s.pos + index) end
  s.pos = s.pos + size
  return value
end

local function room(out, size)
  if out.count + size > out.limit then
    error({ "more than " .. out.limit .. " bytes when decompressed", is_limit = true })
  end
end

local function literal(s, out, size)
  if size > s.stop - s.pos then error({ "compressed data ends too early" }) end
  room(out, size)
  for index = 1, size do out[out.count + index] = s.data:byte(s.pos + index - 1) end
  out.count, s.pos = out.count + size, s.pos + size
end

local function copy(out, distance, size)
  if distance == 0 or distance > out.count then error({ "a copy from " .. distance .. " bytes back" }) end
  room(out, size)
  for index = out.count + 1, out.count + size do out[index] = out[index - distance] end
  out.count = out.count + size
end

local function lz4_length(s, length)
  if length < 15 then return length end
  local byte
  repeat
    byte = little_endian(s, 1)
    length = length + byte
  until byte < 255
  return length
end

local function lz4_block(s, out)
  while s.pos < s.stop do
    local token = little_endian(s, 1)
    literal(s, out, lz4_length(s, math.floor(token / 16)))
    if s.pos == s.stop then return end -- the last sequence copies nothing
    local distance = little_endian(s, 2)
    copy(out, distance, lz4_length(s, token % 16) + 4)
  end
end

local function lz4_frame(s, out)
  if little_endian(s, 4) ~= 0x184D2204 then error({ "not an LZ4 frame" }) end
  local flags = little_endian(s, 1)
  local has_checksums = math.floor(flags / 16) % 2 == 1
  s.pos = s.pos + 2 -- how large blocks may be, checksum of the header
  if math.floor(flags / 8) % 2 == 1 then s.pos = s.pos + 8 end -- the size of it all
  while true do
    local size = little_endian(s, 4)
    if size == 0 then return end
    local is_stored = size >= 0x80000000
    size = size % 0x80000000
    local stop = s.pos + size
    if stop > s.stop then error({ "an LZ4 block of " .. size .. " bytes" }) end
    local block = { data = s.data, pos = s.pos, stop = stop }
    if is_stored then literal(block, out, size) else lz4_block(block, out) end
    s.pos = stop + (has_checksums and 4 or 0)
  end
end

local function snappy_block(s, out)
  local size, scale, byte = 0, 1, nil
  repeat
    byte = little_endian(s, 1)
    size, scale = size + (byte % 128) * scale, scale * 128
  until byte < 128
  local expected = out.count + size
  while s.pos < s.stop do
    local tag = little_endian(s, 1)
    local kind, rest = tag % 4, math.floor(tag / 4)
    if kind == 0 then
      if rest >= 60 then rest = little_endian(s, rest - 59) end
      literal(s, out, rest + 1)
    elseif kind == 1 then
      copy(out, math.floor(rest / 8) * 256 + little_endian(s, 1), rest % 8 + 4)
    else
      copy(out, little_endian(s, kind == 2 and 2 or 4), rest + 1)
    end
  end
  if out.count ~= expected then error({ "a Snappy block of another size than it says" }) end
end

-- As Java clients write it, a header and blocks with their sizes before them; or one block, as librdkafka does.
local function snappy(s, out)
  local magic = "\130SNAPPY\0"
  if s.data:sub(s.pos, s.pos + 7) ~= magic then return snappy_block(s, out) end
  while s.pos < s.stop do
    if s.data:sub(s.pos, s.pos + 7) == magic then
      s.pos = s.pos + 16
    else
      if s.stop - s.pos < 4 then error({ "compressed data ends too early" }) end
      local a, b, c, d = s.data:byte(s.pos, s.pos + 3)
      local start = s.pos + 4
      local stop = start + ((a * 256 + b) * 256 + c) * 256 + d
      if stop > s.stop then error({ "a Snappy block longer than its data" }) end
      snappy_block({ data = s.data, pos = start, stop = stop }, out)
      s.pos = stop
    end
  end
end

local function read_here(read, range, title)
  local limit = math.min(MAX_DECOMPRESSED_BYTES, MAX_DECOMPRESSED_FRAME_BYTES - frame_decompressed_bytes)
  local data, out, pieces = range:raw(), { count = 0, limit = limit }, {}
  local ok, failure = pcall(read, { data = data, pos = 1, stop = #data + 1 }, out)
  frame_decompressed_bytes = frame_decompressed_bytes + out.count -- what fails has its cost, too
  if not ok then error(failure) end
  for first = 1, out.count, 4096 do
    pieces[#pieces + 1] = string.char(table.unpack(out, first, math.min(first + 4095, out.count)))
  end
  return ByteArray.new(table.concat(pieces), true):tvb(title)
end

-- What this Wireshark has under the first of these names that it knows.
local function lent(range, title, ...)
  for _, name in ipairs({ ... }) do
    local is_known, uncompress = pcall(function() return range[name] end)
    if is_known then
      local ok, made = pcall(uncompress, range, title)
      if ok and made then
        frame_decompressed_bytes = frame_decompressed_bytes + made:len()
        return made:tvb()
      end
      error({ ok and "it cannot be decompressed" or tostring(made), is_limit = not ok }) -- built without it
    end
  end
  error({ "this Wireshark has nothing for Lua that decompresses it", is_limit = true })
end

local READERS = {
  [GZIP] = function(range, title) return lent(range, title, "uncompress_zlib", "uncompress") end,
  [SNAPPY] = function(range, title) return read_here(snappy, range, title) end,
  [LZ4] = function(range, title) return read_here(lz4_frame, range, title) end,
  [ZSTD] = function(range, title) return lent(range, title, "uncompress_zstd") end,
}

-- Return what is compressed in a buffer of its own. An error with `is_limit` is not the data's fault.
local function decompressed(codec, range)
  local read = READERS[codec]
  if not read then error({ "there is no codec " .. codec }) end
  if frame_decompressed_bytes >= MAX_DECOMPRESSED_FRAME_BYTES then
    error({ "a frame of more than " .. MAX_DECOMPRESSED_FRAME_BYTES .. " bytes when decompressed", is_limit = true })
  end
  return read(range, CODEC_NAMES[codec] .. ", decompressed")
end
