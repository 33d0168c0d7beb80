'use strict'

const { check, equal, sleep } = require('./program')
const { createTopic, newAdmin, newConsumer, newProducer, onFinalCrash, Reader } = require('./client')
const { numbered, offsetsOf, range } = require('./records')

const PARTITIONS = 6
const PER_PARTITION = 100
const PRODUCE_PAUSE_MS = 30

const commitResume = async (t) => {
  const [topic, groupId] = [t.name(), t.name('group')]
  const admin = await newAdmin(t)
  await createTopic(t, admin, topic, 1)
  const producer = await newProducer(t)
  await producer.send({ topic, messages: numbered(100) })
  const join = async () => new Reader(t, await newConsumer(t, { groupId }), topic).start({ run: { autoCommit: false } })
  const commit = (reader, offset, metadata) => reader.consumer.commitOffsets([{ topic, partition: 0, offset, metadata }])

  const first = await joinAndStopAt(t, topic, groupId, 40)
  equal(offsetsOf(first.messages), range(40), 'offsets of the first consumer')
  await commit(first, '40', 'at-40')
  await first.consumer.disconnect()
  const committed = await admin.fetchOffsets({ groupId, topics: [topic] })
  equal(committed, [{ topic, partitions: [{ partition: 0, offset: '40', metadata: 'at-40' }] }], 'committed offset')
  const [{ high }] = await admin.fetchTopicOffsets(topic)
  equal(Number(high) - Number(committed[0].partitions[0].offset), 60, 'lag')

  const second = await join()
  equal(offsetsOf(await second.take(60)), range(60).map((i) => 40 + i), 'offsets of the second consumer')
  await commit(second, '100')
  await second.consumer.disconnect()

  const third = await join()
  await third.nothing('third consumer')
  await producer.send({ topic, messages: [{ value: 'after' }] }) // the library does not tell a position: the next record shows it
  equal((await third.take(1))[0].offset, '100', 'position of the third consumer')
}

/** Read `count` messages and pause, as the library would go on to the rest of the batch. */
const joinAndStopAt = async (t, topic, groupId, count) => {
  const reader = new Reader(t, await newConsumer(t, { groupId }), topic)
  const eachBatch = async ({ batch, isRunning }) => {
    for (const message of batch.messages) {
      if (!isRunning() || reader.messages.length === count) break
      reader.messages.push({ partition: batch.partition, ...message })
    }
    if (reader.messages.length === count) reader.consumer.pause([{ topic }])
  }
  await reader.start({ run: { autoCommit: false, eachBatchAutoResolve: false, eachMessage: undefined, eachBatch } })
  await reader.take(count)
  return reader
}

/** The library's assigner is eager; it has no cooperative one. */
const groupRebalance = async (t) => {
  const [topic, groupId] = [t.name(), t.name('group')]
  const admin = await newAdmin(t)
  await createTopic(t, admin, topic, PARTITIONS)
  const all = { left: false }
  const produced = produceMeanwhile(t, topic, all)
  produced.catch(() => {}) // it is awaited below; until then a failure of the scenario must not be hidden by this one
  t.atEnd(async () => {
    all.left = true
    await produced
  })

  const seen = new Set()
  const join = (id) => new Member(t, topic, groupId, id, seen).start()
  const a = await join('a')
  await waitOwned(t, 'A alone', 6, [a])
  const [b, c] = await Promise.all([join('b'), join('c')])
  await waitOwned(t, 'A, B and C', 2, [a, b, c])
  await b.consumer.disconnect()
  await waitOwned(t, 'A and C', 3, [a, c])
  await c.consumer.disconnect()
  await waitOwned(t, 'A alone again', 6, [a])
  all.left = true

  await produced
  const total = PARTITIONS * PER_PARTITION
  await t.waitUntil(() => `${total} records processed, got ${seen.size}`, () => seen.size === total)
  await a.consumer.disconnect()
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
  equal(partitions.reduce((sum, { offset }) => sum + Number(offset), 0), total, 'sum of the committed offsets')
}

/** Write one record to each partition at a time, and keep some for after the last leave. */
const produceMeanwhile = async (t, topic, all) => {
  const producer = await newProducer(t)
  for (const round of range(PER_PARTITION)) {
    const messages = range(PARTITIONS).map((partition) => ({ partition, value: `${round * PARTITIONS + partition}` }))
    await producer.send({ topic, messages })
    if (!all.left) await sleep(PRODUCE_PAUSE_MS)
    if (round === PER_PARTITION - 10) await t.waitUntil('the last leave', () => all.left, 60_000)
  }
}

/** A member commits after every batch, which is the library's default; a rebalance waits until the batch is processed. */
class Member {
  constructor(t, topic, groupId, id, seen) {
    Object.assign(this, { t, topic, groupId, id, seen, owned: [], crash: null })
  }

  async start() {
    this.consumer = await newConsumer(this.t, { groupId: this.groupId }, this.t.name(this.id))
    const { GROUP_JOIN, REBALANCING } = this.consumer.events
    this.consumer.on(GROUP_JOIN, ({ payload }) => {
      this.owned = payload.memberAssignment[this.topic] ?? []
    })
    this.consumer.on(REBALANCING, () => {
      this.owned = []
    })
    onFinalCrash(this.consumer, (error) => {
      this.crash = error
    })
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true })
    await this.consumer.run({ eachMessage: async ({ message }) => this.seen.add(String(message.value)) })
    return this
  }
}

/** Wait until the members own all partitions, each exactly once and `each` per member. */
const waitOwned = async (t, what, each, members) => {
  const partitions = range(members.length * each)
  await t.waitUntil(`${what} own ${each} partitions each, all exactly once`, () => {
    for (const { id, crash } of members) check(crash === null, `member ${id}: ${crash}`)
    const owned = members.flatMap((member) => member.owned).sort()
    return members.every((member) => member.owned.length === each) && String(owned) === String(partitions)
  })
}

module.exports = { commitResume, groupRebalance }
