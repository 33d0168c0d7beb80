// Groups with their members; and of one, the lag as a chart that goes on.

import { ask } from "./api.js";
import { LiveChart } from "./chart.js";
import { facts, h, labelled, leftOut, number, replace, table, to } from "./dom.js";

export async function list(page) {
  page.title("Groups");
  const filter = h("input", { id: "filter", type: "search", placeholder: "part of a name", input: () => look() });
  const place = h("div");
  const look = async () => {
    const response = await ask("groups", filter.value ? { contains: filter.value } : {}, page.signal);
    const away = response.unreachable_brokers;
    replace(place,
      away.length ? h("p", { class: "warn" }, `Groups of ${away.length === 1 ? "broker" : "brokers"} ${away.join(", ")} are missing: no answer.`) : "",
      table([
        ["Group", "", (group) => (group.is_described ? h("a", { href: to("groups", group.id) }, group.id || "(no name)") : group.id)],
        ["State", "nowrap", (group) => state(group.state)],
        ["Type", "nowrap", (group) => group.type],
        ["Coordinator", "number", (group) => group.coordinator],
        ["Members", "number", (group) => number(group.members)],
        ["Lag", "number", (group) => number(group.lag)],
      ], response.groups, { empty: filter.value ? "No group has this in its name." : "No group here yet." }),
      leftOut(response.left_out, "groups") ?? "",
      response.without_lag ? h("p", { class: "quiet" }, "Lag is shown of the first groups only: filter for the others, or open them.") : "");
  };
  page.main.replaceChildren(h("h1", {}, "Groups"), h("div", { class: "bar" }, labelled("Filter", filter)), place);
  await page.every(5000, look);
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
    replace(top, facts(["state", state(group.state)], ["members", number(group.members.length + group.members_left_out)],
      ["lag", number(group.lag)], ["type", group.type], ["assignor", group.assignor || "–"]));
    chart.add(group.time_ms, group.lag_by_topic);
    replace(rest, h("h2", {}, "Members"), members(group), leftOut(group.members_left_out, "members") ?? "",
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
    ["End offset", "number", (each) => number(each.end)],
    ["Lag", "number", (each) => number(each.lag)],
    ["Consumed by", "", (each) => (each.member === null ? "–" : clients.get(each.member) ?? each.member)],
  ], group.partitions, { empty: "It has committed nothing." });
}

function state(name) {
  const style = { Stable: "good", Empty: "quiet", Dead: "bad" }[name] ?? "warn";
  return h("span", { class: style }, name || "–");
}
