'use strict'

const { check, equal } = require('./program')
const { createTopic, newAdmin, newConsumer, newProducer, Reader } = require('./client')
const { numbered } = require('./records')

const ROUND = 20 // records of a transaction

const transactions = async (t) => {
  const topic = t.name()
  await createTopic(t, await newAdmin(t), topic, 2)
  const first = await transactional(t)
  for (const [number, end] of [['0', 'commit'], ['1', 'abort'], ['2', 'commit']]) {
    const transaction = await first.transaction()
    await transaction.send({ topic, messages: round(number) })
    await transaction[end]()
  }
  const open = await first.transaction()
  await open.send({ topic, messages: round('open') })
  const committed = await reader(t, topic, 'committed', false)
  equal(values(await next(committed, 2 * ROUND)), [...expected('0'), ...expected('2')], 'committed records')
  await committed.nothing('after the committed records')
  const everything = await reader(t, topic, 'everything', true)
  equal((await next(everything, 4 * ROUND)).length, 4 * ROUND, 'records of a readUncommitted consumer')

  const second = await transactional(t)
  const other = await second.transaction()
  await other.send({ topic, messages: round('3') })
  const failed = await open.commit().then(() => null, (error) => error)
  check(failed !== null, 'the first producer is not fenced')
  check(['PRODUCER_FENCED', 'INVALID_PRODUCER_EPOCH'].includes(failed.type), `commit of the first producer: ${failed}`)
  await other.commit()
  equal(values(await next(committed, ROUND)), expected('3'), 'records of the second producer')
  await committed.nothing('after the records of the second producer')
}

/** The library's commits in a transaction say no member and no generation. */
const transactionalOffsets = async (t) => {
  const [source, sink, groupId] = [t.name('source'), t.name('sink'), t.name('group')]
  const admin = await newAdmin(t)
  await createTopic(t, admin, source, 1)
  await createTopic(t, admin, sink, 2)
  await (await newProducer(t)).send({ topic: source, messages: numbered(ROUND) })
  const producer = await transactional(t)
  for (const [number, end, offset] of [['0', 'abort', '-1'], ['1', 'commit', `${ROUND}`]]) {
    const transaction = await producer.transaction()
    await transaction.send({ topic: sink, messages: round(number) })
    const partitions = [{ partition: 0, offset: `${ROUND}` }]
    await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: source, partitions }] })
    await transaction[end]()
    const [found] = await admin.fetchOffsets({ groupId, topics: [source] })
    equal(found.partitions[0].offset, offset, 'committed offset')
  }
  const committed = await reader(t, sink, 'committed', false)
  equal(values(await next(committed, ROUND)), expected('1'), 'records of the transaction that committed')
  await committed.nothing('after the records of the transaction that committed')
}

/** Return the next messages of a reader, which keeps what it has read. */
const next = async (from, count) => {
  const taken = await from.take(count)
  from.messages = []
  return taken
}

const transactional = (t) => newProducer(t, { transactionalId: t.name('id'), maxInFlightRequests: 1, idempotent: true })

const reader = async (t, topic, group, readUncommitted) =>
  new Reader(t, await newConsumer(t, { groupId: t.name(group), readUncommitted }), topic).start({ run: { autoCommit: false } })

const round = (text) => Array.from({ length: ROUND }, (_, index) => ({ partition: index % 2, value: `${text}-${index}` }))

/** The values of a round, those of partition 0 first. */
const expected = (text) =>
  [0, 1].flatMap((partition) => round(text).filter((message) => message.partition === partition)).map(({ value }) => value)

/** The values, round by round as they were written, those of partition 0 first. */
const values = (messages) => {
  const texts = [0, 1].flatMap((partition) =>
    messages.filter((message) => message.partition === partition).map((message) => message.value.toString()))
  const rounds = [...new Set(texts.map((text) => text.split('-')[0]))].sort()
  return rounds.flatMap((each) => texts.filter((text) => text.split('-')[0] === each))
}

module.exports = { transactions, transactionalOffsets }
