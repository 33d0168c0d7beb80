'use strict'

const { check, equal, errorTypes, expectError } = require('./program')
const { consume, createTopic, newAdmin, newConsumer, newProducer, Reader } = require('./client')
const { numbered } = require('./records')

const autoCreate = async (t) => {
  const [topic, missing] = [t.name(), t.name('missing')]
  const admin = await newAdmin(t)
  const producer = await newProducer(t)
  await producer.send({ topic, messages: [{ value: '0' }] })
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  equal(topics[0].partitions.length, 1, 'partitions of the created topic')
  equal(String((await consume(t, topic, 1))[0].value), '0', 'value')

  const consumer = await newConsumer(t, { allowAutoTopicCreation: false })
  const subscribe = () => consumer.subscribe({ topics: [missing] })
  await expectError(subscribe, 'UNKNOWN_TOPIC_OR_PARTITION', 'subscribe to a topic that is not there')
  check(!(await admin.listTopics()).includes(missing), 'a consumer has created the topic that it asked for')
}

const clientErrors = async (t) => {
  const [topic, missing] = [t.name(), t.name('missing')]
  const admin = await newAdmin(t)
  const unknown = () => admin.fetchTopicMetadata({ topics: [missing] })
  await expectError(unknown, 'UNKNOWN_TOPIC_OR_PARTITION', 'describe an unknown topic')
  check(!(await admin.listTopics()).includes(missing), 'describing has created the topic')

  await createTopic(t, admin, topic, 1)
  const producer = await newProducer(t)
  await producer.send({ topic, messages: numbered(10) })
  await checkResets(t, producer, topic)

  // The library sends nothing for a partition that has no leader and does not complain: it must not be acknowledged.
  const acknowledged = await producer.send({ topic, messages: [{ partition: 99, value: 'x' }] }).catch(() => [])
  equal(acknowledged, [], 'acknowledgements for partition 99')

  for (const sessionTimeout of [2, 5_400_000]) {
    const consumer = await newConsumer(t, { sessionTimeout, heartbeatInterval: 1, retry: { retries: 0 } })
    let crash
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      crash = payload.error
    })
    await consumer.subscribe({ topics: [topic] })
    await consumer.run({ eachMessage: async () => {} }).catch((error) => {
      crash = error
    })
    await t.waitUntil(`an error of the join with a session of ${sessionTimeout} ms`, () => crash !== undefined)
    const expected = `join with a session of ${sessionTimeout} ms: expected INVALID_SESSION_TIMEOUT`
    check(errorTypes(crash).includes('INVALID_SESSION_TIMEOUT'), `${expected}, got ${crash}`)
  }
}

/** Seek to 1000 of 10 records; the library resets to where the subscription says, and cannot be told not to. */
const checkResets = async (t, producer, topic) => {
  const earliest = await new Reader(t, await newConsumer(t), topic).start()
  earliest.seek(1000)
  equal((await earliest.take(1))[0].offset, '0', 'offset 1000 with reset to the start')

  // The library does not tell when it has reset: records are produced until one arrives, and that must be none of the first 10.
  const latest = await new Reader(t, await newConsumer(t), topic).start({ fromBeginning: false })
  latest.seek(1000)
  await t.waitUntil('a record after the reset to the end', async () => {
    await producer.send({ topic, messages: [{ value: 'new' }] })
    return latest.messages.length > 0
  })
  const [{ offset }] = latest.messages
  check(Number(offset) >= 10, `offset 1000 with reset to the end: expected a new record, got offset ${offset}`)
}

module.exports = { autoCreate, clientErrors }
