'use strict'

/** The scenarios of compat/README.md with kafkajs. Here: the table. Not here: client.js and the files of scenarios. */

const { main } = require('./program')
const admin = require('./admin')
const failures = require('./failures')
const groups = require('./groups')
const records = require('./records')
const transactions = require('./transactions')

main({
  produce_consume: records.produceConsume,
  compression: records.compression,
  cross_compression: records.crossCompression,
  acks: records.acks,
  idempotent: records.idempotent,
  large_messages: records.largeMessages,
  seek_replay: records.seekReplay,
  commit_resume: groups.commitResume,
  group_rebalance: groups.groupRebalance,
  transactions: transactions.transactions,
  transactional_offsets: transactions.transactionalOffsets,
  admin_topics: admin.adminTopics,
  admin_configs: admin.adminConfigs,
  admin_groups: admin.adminGroups,
  admin_records: admin.adminRecords,
  auto_create: failures.autoCreate,
  errors: failures.clientErrors,
})
