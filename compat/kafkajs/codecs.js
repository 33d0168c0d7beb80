'use strict'

/**
 * The codecs that this library takes from other packages: snappy, lz4 and zstd.
 *
 * Rules: packages that need no compiler. The frames of lz4 must have independent blocks, which Apache Kafka demands.
 */

const { CompressionCodecs, CompressionTypes } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')

// A streaming decoder: other clients' frames do not always tell their content's size.
const zstd = new Promise((resolve) => ZstdCodec.run((library) => resolve(new library.Streaming())))

const register = () => {
  CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: (encoder) => lz4.compressFrame(encoder.buffer),
    decompress: (buffer) => lz4.decompressFrame(buffer),
  })
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
    decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
  })
}

module.exports = { register }
