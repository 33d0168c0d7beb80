'use strict'

/**
 * What all scenarios use: clients that are closed when the scenario ends, topics, producing and consuming.
 *
 * Rules: every consumer of this library is in a group; where a scenario wants none, the group is one of its own.
 */

const { Kafka, Partitioners, logLevel } = require('kafkajs')
const { Failure, sleep } = require('./program')

// How long a consumer must get nothing before a scenario believes that there is nothing.
const QUIET_MS = 2000
// Below the defaults (3 s and 5 s), so that members hear sooner of a rebalance and close sooner.
const QUICK_CONSUMER = { heartbeatInterval: 200, maxWaitTimeInMs: 200 }
// For the admin client, where retries from 300 ms on would make expected errors slow. Not for consumers: they would give up after two
// seconds, and a fresh broker's first group waits longer for its coordinator.
const QUICK_RETRY = { initialRetryTime: 50, retries: 8 }

const REPLICATION_FACTOR = Number(process.env.COMPAT_REPLICATION_FACTOR ?? 1)

const logCreator = () => ({ label, namespace, log }) => {
  console.error(`${log.timestamp} ${label} [${namespace}] ${log.message} ${log.error ?? ''}`)
}

const kafka = (t, clientId = t.name('client')) =>
  new Kafka({ clientId, brokers: t.bootstrap, logLevel: logLevel.WARN, logCreator })

const connected = async (t, client) => {
  t.atEnd(() => client.disconnect())
  await client.connect()
  return client
}

const newAdmin = (t) => connected(t, kafka(t).admin({ retry: QUICK_RETRY }))

const newProducer = (t, options = {}) =>
  connected(t, kafka(t).producer({ createPartitioner: Partitioners.DefaultPartitioner, ...options }))

const newConsumer = (t, options = {}, clientId = undefined) => {
  const groupId = t.name('reader', t.nextNumber())
  return connected(t, kafka(t, clientId).consumer({ groupId, ...QUICK_CONSUMER, ...options }))
}

/** Create a topic and wait until the leaders of its partitions answer (why: ../README.md); false if it was there already. */
const createTopic = (t, admin, topic, numPartitions, configs = {}) => {
  const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
  return createReadyTopic(t, admin, { topic, numPartitions, replicationFactor: REPLICATION_FACTOR, configEntries })
}

/** The library's own wait for leaders fails where the metadata does not have the topic yet, so this does without it. */
const createReadyTopic = async (t, admin, description) => {
  const created = await admin.createTopics({ topics: [description], waitForLeaders: false })
  let failure
  const answers = async () => {
    try {
      await admin.fetchTopicOffsets(description.topic)
      return true
    } catch (error) {
      failure = error
      return false
    }
  }
  await t.waitUntil(() => `leaders of ${description.topic} answer, got ${failure}`, answers)
  return created
}

/** Call `crashed` when the consumer has given up. A crash that the library restarts from by itself is none to its users. */
const onFinalCrash = (consumer, crashed) =>
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    if (!payload.restart) crashed(payload.error)
  })

/** Consume into a list that grows, from the beginning unless the options say otherwise. */
class Reader {
  constructor(t, consumer, topic) {
    this.t = t
    this.consumer = consumer
    this.topic = topic
    this.messages = []
    this.joined = false
    this.crash = null
    consumer.on(consumer.events.GROUP_JOIN, () => {
      this.joined = true
    })
    onFinalCrash(consumer, (error) => {
      this.crash = error
    })
  }

  async start({ fromBeginning = true, run = {} } = {}) {
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning })
    await this.consumer.run({
      eachMessage: async ({ partition, message }) => {
        this.messages.push({ partition, ...message })
      },
      ...run,
    })
    await this.t.waitUntil('the consumer joins its group', () => {
      if (this.crash) throw this.crash
      return this.joined
    })
    return this
  }

  /** What has been read before is forgotten; the next message is that at `offset` of partition 0. */
  seek(offset) {
    this.consumer.seek({ topic: this.topic, partition: 0, offset: String(offset) })
    this.messages = []
  }

  /** Return the messages once there are `count` of them. */
  async take(count) {
    await this.t.waitUntil(
      () => `${count} records, got ${this.messages.length}`,
      () => {
        if (this.crash) throw this.crash
        return this.messages.length >= count
      },
      60_000
    )
    return this.messages
  }

  /** Fail if a message arrives before QUIET_MS are over. */
  async nothing(what) {
    await sleep(QUIET_MS)
    if (this.crash) throw this.crash
    if (this.messages.length) throw new Failure(`${what}: expected no record, got offset ${this.messages[0].offset}`)
  }
}

/** Read `count` messages of a topic from the beginning. */
const consume = async (t, topic, count, options = {}) => {
  const consumer = await newConsumer(t, options)
  const reader = await new Reader(t, consumer, topic).start()
  const messages = await reader.take(count)
  await consumer.disconnect()
  return messages
}

module.exports = { REPLICATION_FACTOR, createReadyTopic, createTopic, consume, newAdmin, newConsumer, newProducer, onFinalCrash, Reader }
