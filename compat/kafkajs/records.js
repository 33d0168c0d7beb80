'use strict'

const crypto = require('node:crypto')
const { CompressionTypes } = require('kafkajs')
const { check, equal, expectError } = require('./program')
const { consume, createTopic, newAdmin, newConsumer, newProducer, Reader } = require('./client')
const codecs = require('./codecs')

const BASE_TIMESTAMP = 1_700_000_000_000
// Records of that time are past the default retention: without this a broker may delete them as soon as they are written.
const KEEP = { 'retention.ms': '-1' }

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

/** Return 0, 1, … count - 1. */
const range = (count) => Array.from({ length: count }, (_, index) => index)

const numbered = (count) => range(count).map((i) => ({ value: `${i}`, partition: 0 }))

const timed = (count) => numbered(count).map((message, i) => ({ ...message, timestamp: `${BASE_TIMESTAMP + 1000 * i}` }))

const offsetsOf = (messages) => messages.map((message) => Number(message.offset))

const produceConsume = async (t) => {
  const topic = t.name()
  const partitions = 4
  await createTopic(t, await newAdmin(t), topic, partitions, KEEP)
  const producer = await newProducer(t)
  const messages = range(1000).map((i) => ({
    partition: i % partitions,
    key: i % 10 === 3 ? null : `key-${i}`,
    value: i % 10 === 7 ? null : `value-${i}${'x'.repeat(i)}`,
    timestamp: `${BASE_TIMESTAMP + i}`,
    headers: { index: [`${i}`, 'again'], empty: Buffer.alloc(0) }, // the library cannot send a null header
  }))
  for (let first = 0; first < messages.length; first += 100) {
    const acknowledged = await producer.send({ topic, messages: messages.slice(first, first + 100) })
    const offsets = acknowledged.map(({ partition, baseOffset }) => [partition, baseOffset]).sort()
    const expected = range(partitions).map((partition) => [partition, `${first / partitions}`])
    equal(offsets, expected, 'acknowledged partitions and base offsets')
  }
  const consumed = await consume(t, topic, messages.length)
  equal(consumed.length, messages.length, 'number of records')
  for (const partition of range(partitions)) {
    const of = consumed.filter((message) => message.partition === partition)
    equal(offsetsOf(of), range(250), `offsets of partition ${partition}`)
    of.forEach((message, at) => checkMessage(message, messages[at * partitions + partition]))
  }
}

const checkMessage = (message, sent) => {
  const where = `partition ${message.partition} offset ${message.offset}`
  equal(message.key?.toString() ?? null, sent.key, `${where} key`)
  equal(message.value?.toString() ?? null, sent.value, `${where} value`)
  equal(message.timestamp, sent.timestamp, `${where} timestamp`)
  equal(message.headers.index.map(String), sent.headers.index, `${where} headers index`)
  equal(message.headers.empty, sent.headers.empty, `${where} header empty`)
}

const STANDARD = range(200).map((i) => {
  const index = String(i).padStart(4, '0')
  return { key: `key-${index}`, value: `value-${index}-${'abcdefghij'.repeat(20)}` }
})

/** One send is one batch. */
const compression = async (t) => {
  codecs.register()
  const admin = await newAdmin(t)
  const producer = await newProducer(t)
  for (const [name, codec] of Object.entries(CODECS)) {
    const topic = t.name(name)
    await createTopic(t, admin, topic, 1)
    await producer.send({ topic, compression: codec, messages: STANDARD })
    await readStandard(t, topic)
  }
}

const crossCompression = async (t) => {
  codecs.register()
  for (const topic of t.topics) await readStandard(t, topic)
}

const readStandard = async (t, topic) => {
  const messages = await consume(t, topic, STANDARD.length)
  equal(offsetsOf(messages), range(STANDARD.length), `offsets of ${topic}`)
  messages.forEach(({ key, value, offset }, at) => {
    equal({ key: String(key), value: String(value) }, STANDARD[at], `${topic} record ${offset}`)
  })
}

const acks = async (t) => {
  const admin = await newAdmin(t)
  const producer = await newProducer(t)
  for (const [name, level] of Object.entries({ 0: 0, 1: 1, all: -1 })) {
    const topic = t.name(name)
    await createTopic(t, admin, topic, 1)
    for (const [at, message] of numbered(100).entries()) {
      const acknowledged = await producer.send({ topic, acks: level, messages: [message] })
      const offsets = acknowledged.map(({ baseOffset }) => baseOffset)
      equal(offsets, level === 0 ? [] : [`${at}`], `acks=${name} offset of record ${at}`)
    }
    const messages = await consume(t, topic, 100)
    equal(messages.map(({ value }) => String(value)), range(100).map(String), `acks=${name} values`)
  }
}

/** The library numbers sequences at sending, so batches are sent one after the other, as its documentation asks. */
const idempotent = async (t) => {
  const topic = t.name()
  await createTopic(t, await newAdmin(t), topic, 3)
  const messages = range(1000).map((i) => ({ partition: i % 3, value: `value-${i}` }))
  for (const half of [messages.slice(0, 500), messages.slice(500)]) {
    const producer = await newProducer(t, { idempotent: true, maxInFlightRequests: 5 })
    for (let first = 0; first < half.length; first += 50) {
      await producer.send({ topic, messages: half.slice(first, first + 50) })
    }
    await producer.disconnect()
  }
  const consumed = await consume(t, topic, messages.length)
  equal(consumed.length, messages.length, 'number of records')
  for (const partition of range(3)) {
    const values = (list) => list.filter((message) => message.partition === partition).map(({ value }) => String(value))
    equal(values(consumed), values(messages), `values of partition ${partition}`)
  }
}

/** The library has no limit of its own for what it sends. */
const largeMessages = async (t) => {
  const [topic, wideTopic] = [t.name(), t.name('wide')]
  const admin = await newAdmin(t)
  await createTopic(t, admin, topic, 1)
  await createTopic(t, admin, wideTopic, 1, { 'max.message.bytes': '2000000' })
  const producer = await newProducer(t)
  const large = crypto.createHash('shake256', { outputLength: 900_000 }).update('large').digest()
  const larger = crypto.createHash('shake256', { outputLength: 1_500_000 }).update('larger').digest()
  await producer.send({ topic, messages: [{ value: large }] })
  const same = async (from, value, options) => {
    const [message] = await consume(t, from, 1, options)
    check(message.value.equals(value), `${value.length} bytes came back changed`)
  }
  await same(topic, large)
  await same(topic, large, { maxBytesPerPartition: 1000 })
  await expectError(() => producer.send({ topic, messages: [{ value: larger }] }), 'MESSAGE_TOO_LARGE', '1 500 000 bytes')
  await producer.send({ topic: wideTopic, messages: [{ value: larger }] })
  await same(wideTopic, larger)
}

/**
 * A seek to the beginning or the end follows the subscription (`fromBeginning`), so the end has a consumer of its own. The library does
 * not tell a position; the end's is shown by the record that is produced afterwards.
 */
const seekReplay = async (t) => {
  const topic = t.name()
  const admin = await newAdmin(t)
  await createTopic(t, admin, topic, 1, KEEP)
  const producer = await newProducer(t)
  await producer.send({ topic, messages: timed(500) })

  equal(await admin.fetchTopicOffsets(topic), [{ partition: 0, offset: '500', high: '500', low: '0' }], 'earliest and latest')
  const between = BASE_TIMESTAMP + 1000 * 250
  for (const [timestamp, offset] of [[between, '250'], [between + 1, '251'], [BASE_TIMESTAMP + 1000 * 500, '500']]) {
    equal(await admin.fetchTopicOffsetsByTimestamp(topic, timestamp), [{ partition: 0, offset }], `offset at time ${timestamp}`)
  }

  const reader = await new Reader(t, await newConsumer(t), topic).start()
  for (const offset of [123, 0, 499, 250]) {
    reader.seek(offset)
    equal((await reader.take(1))[0].offset, `${offset}`, `seek to ${offset}`)
  }
  reader.seek(0)
  const replayed = await reader.take(500)
  equal(replayed.map(({ value }) => String(value)), range(500).map(String), 'replay')
  const atEnd = await new Reader(t, await newConsumer(t), topic).start({ fromBeginning: false })
  await atEnd.nothing('at the end')
  await producer.send({ topic, messages: [{ value: 'after' }] })
  equal((await atEnd.take(1))[0].offset, '500', 'first offset after the end')
}

module.exports = { produceConsume, compression, crossCompression, acks, idempotent, largeMessages, seekReplay, numbered, offsetsOf, range }
