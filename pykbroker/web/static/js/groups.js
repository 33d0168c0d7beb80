// Groups with their members; and of one, the lag as a chart that goes on.

import { ask } from "./api.js";
import { LiveChart } from "./chart.js";
import { facts, h, leftOut, number, table, to } from "./dom.js";

export async function list(page) {
  page.title("Groups");
  await page.every(5000, async () => {
    const { groups, left_out } = await ask("groups", {}, page.signal);
    page.main.replaceChildren(h("h1", {}, "Groups"), table([
      ["Group", "", (group) => (group.members === null ? group.id : h("a", { href: to("groups", group.id) }, group.id || "(no name)"))],
      ["State", "nowrap", (group) => state(group.state)],
      ["Type", "nowrap", (group) => group.type],
      ["Coordinator", "number", (group) => group.coordinator],
      ["Members", "number", (group) => number(group.members)],
      ["Lag", "number", (group) => number(group.lag)],
    ], groups, { empty: "No group here yet." }), leftOut(left_out, "groups") ?? "");
  });
}

export async function one(page) {
  const id = page.parts[1];
  page.title(`Group ${id}`);
  const top = h("div");
  const rest = h("div");
  const chart = new LiveChart(page.signal);
  page.main.replaceChildren(h("div", { class: "crumbs" }, h("a", { href: "#/groups" }, "Groups")), h("h1", {}, id), top,
    h("h2", {}, "Lag by topic, live"), chart.element, rest);
  await page.every(1000, async () => {
    const group = await ask("group", { id }, page.signal);
    top.replaceChildren(facts(["state", state(group.state)], ["members", number(group.members.length + group.members_left_out)],
      ["lag", number(group.lag)], ["type", group.type], ["assignor", group.assignor || "–"]));
    chart.add(group.time_ms, group.lag_by_topic);
    rest.replaceChildren(h("h2", {}, "Members"), members(group), leftOut(group.members_left_out, "members") ?? "",
      h("h2", {}, "Committed offsets"), offsets(group), leftOut(group.partitions_left_out, "partitions") ?? "");
  });
}

function members(group) {
  return table([
    ["Member", "mono", (member) => [member.id, member.instance_id ? h("span", { class: "tag" }, member.instance_id) : null]],
    ["Client", "", (member) => member.client_id],
    ["Host", "mono", (member) => member.host],
    ["Partitions", "", (member) => member.partitions.join(", ") || "–"],
  ], group.members, { empty: "Nobody is in this group." });
}

function offsets(group) {
  const clients = new Map(group.members.map((member) => [member.id, member.client_id]));
  return table([
    ["Topic", "", (each) => h("a", { href: to("topics", each.topic) }, each.topic)],
    ["Partition", "number", (each) => each.partition],
    ["Committed", "number", (each) => number(each.committed)],
    ["Ends", "number", (each) => number(each.end)],
    ["Lag", "number", (each) => number(each.lag)],
    ["Consumed by", "", (each) => (each.member === null ? "–" : clients.get(each.member) ?? each.member)],
  ], group.partitions, { empty: "It has committed nothing." });
}

function state(name) {
  const style = { Stable: "good", Empty: "quiet", Dead: "bad" }[name] ?? "warn";
  return h("span", { class: style }, name || "–");
}
