'use strict'

const { AssignerProtocol, ConfigResourceTypes, ConfigSource } = require('kafkajs')
const { check, equal, expectError } = require('./program')
const { REPLICATION_FACTOR, createReadyTopic, createTopic, newAdmin, newConsumer, newProducer, Reader, consume } = require('./client')
const { numbered, offsetsOf, range } = require('./records')

const describe = async (admin, topic) => {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  return topics[0].partitions.sort((one, other) => one.partitionId - other.partitionId)
}

/** The library turns TOPIC_ALREADY_EXISTS into the answer false. */
const adminTopics = async (t) => {
  const [a, b, dry] = [t.name('a'), t.name('b'), t.name('dry')]
  const admin = await newAdmin(t)
  const { brokers, controller } = await admin.describeCluster()
  const node = brokers[0].nodeId
  check(brokers.some(({ nodeId }) => nodeId === controller), `controller ${controller} is not among the brokers`)
  equal(await createTopic(t, admin, a, 3, { 'cleanup.policy': 'compact' }), true, 'create A')
  const replicaAssignment = [0, 1].map((partition) => ({ partition, replicas: [node] }))
  equal(await createReadyTopic(t, admin, { topic: b, numPartitions: -1, replicationFactor: -1, replicaAssignment }), true, 'create B')
  for (const [topic, count, factor] of [[a, 3, REPLICATION_FACTOR], [b, 2, 1]]) {
    equal((await describe(admin, topic)).length, count, `partitions of ${topic}`)
    const asCreated = ({ leader, replicas, isr }) =>
      replicas.length === factor && replicas.includes(leader) && [...isr].sort().join() === [...replicas].sort().join()
    await t.waitUntil(`all replicas of ${topic} are in sync`, async () => (await describe(admin, topic)).every(asCreated))
  }
  for (const { replicas } of await describe(admin, b)) {
    equal(replicas, [node], 'the replicas asked for')
  }

  await admin.createPartitions({ topicPartitions: [{ topic: a, count: 5 }] })
  await t.waitUntil('A has 5 partitions', async () => (await describe(admin, a)).length === 5)
  const lower = () => admin.createPartitions({ topicPartitions: [{ topic: a, count: 4 }] })
  await expectError(lower, 'INVALID_PARTITIONS', 'lower A to 4 partitions')
  equal(await createTopic(t, admin, a, 1), false, 'create A again')
  await checkRefused(admin, dry)
  await admin.createTopics({ validateOnly: true, waitForLeaders: false, topics: [{ topic: dry, numPartitions: 2, replicationFactor: 1 }] })
  const listed = await admin.listTopics()
  check(listed.includes(a) && listed.includes(b), 'list topics: A or B is not listed')
  check(!listed.includes(dry), 'list topics: validate-only has created a topic')

  await admin.deleteTopics({ topics: [a, b] })
  await t.waitUntil('A and B are no longer listed', async () => {
    const topics = await admin.listTopics()
    return !topics.includes(a) && !topics.includes(b)
  })
  await expectError(() => admin.deleteTopics({ topics: [dry] }), 'UNKNOWN_TOPIC_OR_PARTITION', 'delete a topic that does not exist')
}

const checkRefused = async (admin, absent) => {
  const create = (topic, numPartitions, replicationFactor, configEntries = []) => () =>
    admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor, configEntries }] })
  await expectError(create('bad/name', 1, 1), 'INVALID_TOPIC_EXCEPTION', 'create bad/name')
  await expectError(create(absent, 1, 99), 'INVALID_REPLICATION_FACTOR', 'create with 99 replicas')
  await expectError(create(absent, 0, 1), 'INVALID_PARTITIONS', 'create with 0 partitions')
  await expectError(create(absent, 1, 1, [{ name: 'no.such.config', value: '1' }]), 'INVALID_CONFIG', 'create with an unknown config')
}

/** The library has the old AlterConfigs only, which replaces all configs of the topic. */
const adminConfigs = async (t) => {
  const topic = t.name()
  const admin = await newAdmin(t)
  await createTopic(t, admin, topic, 1, { 'retention.ms': '3600000' })
  const described = async (type, name, config) => {
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type, name }] })
    const entry = resources[0].configEntries.find(({ configName }) => configName === config)
    check(entry !== undefined, `describe configs of ${name}: no ${config}`)
    return entry
  }
  const expect = (config, value, source) =>
    t.waitUntil(`config ${config}=${value} from source ${source}`, async () => {
      const { configValue, configSource, isDefault } = await described(ConfigResourceTypes.TOPIC, topic, config)
      return configValue === value && configSource === source && isDefault === (source === ConfigSource.DEFAULT_CONFIG)
    })
  await expect('retention.ms', '3600000', ConfigSource.TOPIC_CONFIG)
  await expect('segment.bytes', '1073741824', ConfigSource.DEFAULT_CONFIG)

  const alter = (name, value) => () => {
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name, value }] }
    return admin.alterConfigs({ validateOnly: false, resources: [resource] })
  }
  await alter('max.message.bytes', '123456')()
  await expect('max.message.bytes', '123456', ConfigSource.TOPIC_CONFIG)
  await expect('retention.ms', '604800000', ConfigSource.DEFAULT_CONFIG)
  await expectError(alter('retention.ms', 'abc'), 'INVALID_CONFIG', 'set retention.ms=abc')
  await expectError(alter('no.such.config', '1'), 'INVALID_CONFIG', 'set an unknown config')
  const { brokers } = await admin.describeCluster()
  await described(ConfigResourceTypes.BROKER, String(brokers[0].nodeId), 'log.segment.bytes')
}

const adminGroups = async (t) => {
  const [topic, groupId] = [t.name(), t.name('group')]
  const admin = await newAdmin(t)
  await createTopic(t, admin, topic, 2)
  const producer = await newProducer(t)
  await producer.send({ topic, messages: numbered(10).map((message, i) => ({ ...message, partition: i % 2 })) })
  const reader = await new Reader(t, await newConsumer(t, { groupId }, t.name('member')), topic).start()
  await reader.take(10)

  const listed = async () => (await admin.listGroups()).groups.filter((group) => group.groupId === groupId)
  equal(await listed(), [{ groupId, protocolType: 'consumer' }], 'listed group')
  checkLiveGroup(t, await describeGroup(admin, groupId), topic)
  await expectError(() => admin.deleteGroups([groupId]), 'NON_EMPTY_GROUP', 'delete a group with a member')
  await reader.consumer.disconnect()
  await t.waitUntil('group is Empty', async () => {
    const { state, members } = await describeGroup(admin, groupId)
    return state === 'Empty' && members.length === 0
  })

  const offsets = async () => {
    const topics = await admin.fetchOffsets({ groupId })
    equal(topics.map((each) => each.topic), [topic], 'topics with committed offsets')
    return Object.fromEntries(topics[0].partitions.map(({ partition, offset }) => [partition, offset]))
  }
  equal(await offsets(), { 0: '5', 1: '5' }, 'committed offsets')
  await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '3' }] })
  equal(await offsets(), { 0: '3', 1: '5' }, 'offsets after alteration')
  await admin.deleteGroups([groupId]) // the library cannot delete single offsets
  equal(await listed(), [], 'the deleted group in the list')
  await expectError(() => admin.deleteGroups([groupId]), 'GROUP_ID_NOT_FOUND', 'delete the group again')
}

const describeGroup = async (admin, groupId) => (await admin.describeGroups([groupId])).groups[0]

const checkLiveGroup = (t, group, topic) => {
  const { state, protocolType, protocol, members } = group
  const expected = { state: 'Stable', protocolType: 'consumer', protocol: 'RoundRobinAssigner' }
  equal({ state, protocolType, protocol }, expected, 'described group')
  equal(members.length, 1, 'members')
  equal(members[0].clientId, t.name('member'), 'client id of the member')
  equal(members[0].clientHost, '/127.0.0.1', 'host of the member')
  const { assignment } = AssignerProtocol.MemberAssignment.decode(members[0].memberAssignment)
  equal({ [topic]: assignment[topic].sort() }, { [topic]: [0, 1] }, 'assignment of the member')
  equal(AssignerProtocol.MemberMetadata.decode(members[0].memberMetadata).topics, [topic], 'subscription of the member')
}

/** The library does not return low watermarks of the deletion. */
const adminRecords = async (t) => {
  const topic = t.name()
  const admin = await newAdmin(t)
  await createTopic(t, admin, topic, 1)
  const producer = await newProducer(t)
  await producer.send({ topic, messages: numbered(100) })
  const deleteBefore = (offset) => admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] })
  const low = async () => (await admin.fetchTopicOffsets(topic))[0].low
  equal(await low(), '0', 'earliest offset at first') // it also loads the metadata that deleteTopicRecords needs
  await deleteBefore('30')
  equal(await low(), '30', 'earliest offset')
  equal(offsetsOf(await consume(t, topic, 70)), range(70).map((i) => 30 + i), 'offsets after deletion')
  await deleteBefore('-1')
  equal(await low(), '100', 'earliest offset after deletion of all')
  const reader = await new Reader(t, await newConsumer(t), topic).start()
  await reader.nothing('after deletion of all')
  await expectError(() => deleteBefore('1000'), 'OFFSET_OUT_OF_RANGE', 'delete records before 1000')
}

module.exports = { adminTopics, adminConfigs, adminGroups, adminRecords }
