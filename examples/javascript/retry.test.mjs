// How a JavaScript program's client takes it when its broker fails:
//
//     npm install kafkajs && pykbroker test -- node --test

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import kafkajs from "kafkajs";

const kafka = new kafkajs.Kafka({
  brokers: process.env.KAFKA_BOOTSTRAP_SERVERS.split(","),
  logLevel: kafkajs.logLevel.NOTHING,
});

async function order(path, body = {}) {
  const answer = await fetch(process.env.PYKBROKER_HTTP + path, { method: "POST", body: JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

async function hits(fault, atLeast = 0) {
  return (await fetch(`${process.env.PYKBROKER_HTTP}/faults/${fault.id}/hits?at_least=${atLeast}`)).json();
}

async function use(client, body) {
  await client.connect();
  try {
    await body(client);
  } finally {
    await client.disconnect();
  }
}

beforeEach(async () => {
  await order("/faults/actions/reset");
  await use(kafka.admin(), (admin) => admin.createTopics({ topics: [{ topic: "orders", numPartitions: 1 }] }));
});

test("producer finds the leader again", async () => {
  const fault = await order("/faults", { api: "Produce", topic: "orders", error: "NOT_LEADER_OR_FOLLOWER", times: 2 });
  await use(kafka.producer(), async (producer) => {
    const [sent] = await producer.send({ topic: "orders", messages: [{ value: "tea" }] });
    assert.equal(sent.baseOffset, "0");
  });
  assert.equal(await hits(fault), 2);
});

test("answer that is lost costs no second record", async () => {
  await order("/faults", { api: "Produce", topic: "orders", drop: true, when: "after", times: 1 });
  await use(kafka.producer({ idempotent: true, maxInFlightRequests: 1 }), (producer) =>
    producer.send({ topic: "orders", messages: [{ value: "tea" }] }),
  );
  await use(kafka.admin(), async (admin) => {
    const [partition] = await admin.fetchTopicOffsets("orders");
    assert.equal(partition.high, "1");
  });
});

test("member joins again after a rebalance", async () => {
  const settings = { groupId: "billing", heartbeatInterval: 10, maxWaitTimeInMs: 10 }; // it learns of it in heartbeats
  await use(kafka.consumer(settings), async (consumer) => {
    const joined = async (act) => {
      const next = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
      await act();
      await next;
    };
    await consumer.subscribe({ topic: "orders" });
    await joined(() => consumer.run({ eachMessage: async () => {} }));
    await joined(() => order("/faults/actions/rebalance", { group: "billing" }));
  });
});
