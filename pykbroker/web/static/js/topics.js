// The topics of the cluster; and one of them, with its partitions and configs.

import { ask, topicPath } from "./api.js";
import { configsOf } from "./configs.js";
import { bytes, check, facts, h, labelled, leftOut, number, replace, table, to } from "./dom.js";

export async function list(page) {
  page.title("Topics");
  let response = { topics: [], left_out: 0 };
  const filter = h("input", { type: "search", placeholder: "part of a name", input: () => fill() });
  const internal = check("Show internal topics", { change: () => fill() });
  const place = h("div");
  const fill = () => {
    const shown = response.topics.filter((topic) =>
      topic.name.includes(filter.value) && (!topic.is_internal || internal.firstChild.checked));
    replace(place, table([
      ["Topic", "", (topic) => [h("a", { href: to("topics", topic.name) }, topic.name), topic.is_internal ? h("span", { class: "tag" }, "internal") : null]],
      ["Partitions", "number", (topic) => number(topic.partition_count)],
      ["Replicas", "number", (topic) => number(topic.replication_factor)],
      ["State", "nowrap", health],
      ["Size", "number", (topic) => bytes(topic.bytes)],
      ["", "nowrap", (topic) => h("a", { href: to("topics", topic.name, "records") }, "Records")],
    ], shown, { empty: "No topic here yet." }), leftOut(response.left_out, "topics") ?? "");
  };
  page.main.replaceChildren(h("h1", {}, "Topics"), h("div", { class: "bar" }, labelled("Filter", filter), internal), place);
  await page.every(5000, async () => {
    response = await ask("topics", {}, page.signal);
    fill();
  });
}

export async function one(page) {
  const name = page.parts[1];
  page.title(name);
  const place = h("div");
  page.main.replaceChildren(h("div", { class: "crumbs" }, h("a", { href: "#/topics" }, "Topics")), h("h1", {}, name), place);
  const configs = h("div");
  page.main.append(configs);
  await page.every(3000, async () => {
    const topic = await ask(topicPath(name), {}, page.signal);
    const held = topic.partitions.map((each) => (each.end === null || each.beginning === null ? 0 : each.end - each.beginning));
    replace(place,
      facts(["partitions", number(topic.partition_count)], ["replication factor", number(topic.replication_factor)],
        ["offsets held", number(held.reduce((sum, each) => sum + each, 0))], ["size", bytes(topic.bytes)], ["state", health(topic)]),
      h("p", {}, h("a", { href: to("topics", name, "records") }, page.cluster.is_writable ? "Browse and produce records" : "Browse records")),
      h("h2", {}, "Partitions"),
      partitions(name, topic), leftOut(topic.left_out, "partitions") ?? "",
    );
  });
  configs.replaceChildren(await configsOf("topic", name, page.signal));
}

function partitions(name, topic) {
  return table([
    ["Partition", "number", (each) => h("a", { href: `${to("topics", name, "records")}?partition=${each.index}` }, each.index)],
    ["Leader", "number", (each) => (each.leader < 0 ? h("span", { class: "bad" }, "none") : each.leader)],
    ["Epoch", "number", (each) => each.leader_epoch],
    ["Replicas", "", (each) => each.replicas.join(", ")],
    ["ISR", "", (each) => h("span", { class: each.isr.length < each.replicas.length ? "warn" : "" }, each.isr.join(", "))],
    ["Start offset", "number", (each) => number(each.beginning)],
    ["End offset", "number", (each) => number(each.end)],
    ["Size", "number", (each) => bytes(each.bytes)],
  ], topic.partitions);
}

function health(topic) {
  if (topic.without_leader > 0) return h("span", { class: "bad" }, `${topic.without_leader} without a leader`);
  if (topic.under_replicated > 0) return h("span", { class: "warn" }, `${topic.under_replicated} under-replicated`);
  return h("span", { class: "good" }, "in sync");
}
