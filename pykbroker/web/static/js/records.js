// Records of a topic: from the beginning, the end, an offset or a time on, and back and forth; and the way to produce one.

import { ask, topicPath } from "./api.js";
import { content, VIEWS } from "./content.js";
import { check, h, labelled, number, select, table, time, to } from "./dom.js";
import { produceForm } from "./produce.js";

const STARTS = [["end", "newest"], ["beginning", "oldest"], ["offset", "offset"], ["timestamp", "time"]];

export async function show(page) {
  const name = page.parts[1];
  page.title(`Records of ${name}`);
  const topic = await ask(topicPath(name), {}, page.signal);
  const partitions = [["all", "all"], ...Array.from({ length: topic.partition_count }, (_, index) => [index, index])];
  const partition = select({ id: "partition" }, partitions, page.query.get("partition") ?? "all");
  const start = select({ id: "start", change: () => showFields() }, STARTS, "end");
  const offset = h("input", { id: "offset", type: "number", min: 0, value: 0 });
  const moment = h("input", { id: "moment", type: "datetime-local", step: 1 });
  const limit = h("input", { id: "limit", type: "number", min: 1, max: 500, value: 50 });
  const contains = h("input", { id: "contains", type: "search", placeholder: "in key, value or headers" });
  const view = select({ id: "view", change: () => fill() }, VIEWS, "auto");
  const committed = check("Committed only", { id: "committed" });
  const older = h("button", { type: "button", id: "older", click: () => read("older", response.older) }, "← Older");
  const newer = h("button", { type: "button", id: "newer", click: () => read("newer", response.newer) }, "Newer →");
  const offsetField = labelled("Offset", offset);
  const momentField = labelled("Time (local)", moment);
  const place = h("div");
  let response = null;

  const showFields = () => {
    offsetField.hidden = start.value !== "offset";
    momentField.hidden = start.value !== "timestamp";
    for (const field of [offsetField, momentField]) field.style.display = field.hidden ? "none" : "";
  };

  const read = async (from, at) => {
    const query = { partition: partition.value, from, limit: limit.value };
    if (at !== null) query.at = at;
    if (committed.firstChild.checked) query.isolation = "read_committed";
    if (contains.value) query.contains = contains.value;
    place.setAttribute("aria-busy", "true");
    try {
      response = await ask(topicPath(name, "/records"), query, page.signal);
    } catch (error) {
      if (page.signal.aborted) return;
      place.replaceChildren(h("div", { class: "panel empty bad" }, error.message));
      return;
    } finally {
      place.removeAttribute("aria-busy");
    }
    fill();
  };

  const readFromStart = () => {
    const at = { offset: () => offset.value, timestamp: () => new Date(moment.value || 0).getTime() }[start.value];
    return read(start.value, at ? at() : null);
  };

  const fill = () => {
    if (response === null) return;
    older.disabled = response.older === null;
    newer.disabled = response.newer === null;
    place.replaceChildren(h("p", { class: "quiet" }, summary(response)), recordTable(response.records, view.value));
  };

  const form = h("form", {
    class: "bar", submit: (event) => {
      event.preventDefault();
      readFromStart();
    },
  }, labelled("Partition", partition), labelled("From", start), offsetField, momentField, labelled("Limit", limit),
  labelled("Contains", contains), labelled("Show as", view), committed, h("button", { class: "main", id: "read" }, "Read"), older, newer);
  showFields();
  page.main.replaceChildren(
    h("div", { class: "crumbs" }, h("a", { href: "#/topics" }, "Topics"), " / ", h("a", { href: to("topics", name) }, name)),
    h("h1", {}, `Records of ${name}`), form,
    page.cluster.is_writable ? produceForm(name, topic.partition_count, page.signal, (sent) => {
      if (partition.value !== "all") partition.value = sent.partition;
      read("end", null);
    }) : "",
    place,
  );
  await readFromStart();
}

function summary(response) {
  const known = response.partitions.filter((each) => each.end !== null);
  const parts = [];
  if (known.length === 1 && response.partitions.length === 1) {
    parts.push(`Partition ${known[0].partition} has offsets ${number(known[0].beginning)} to ${number(known[0].end)} (exclusive).`);
  } else {
    const held = known.reduce((sum, each) => sum + each.end - each.beginning, 0);
    parts.push(`${number(known.length)} partitions with ${number(held)} offsets.`);
  }
  if (known.length < response.partitions.length) parts.push("Some partitions have no leader that answers.");
  if (response.partitions_left_out) parts.push(`${number(response.partitions_left_out)} more partitions were not read: choose one of them.`);
  if (!response.is_complete) parts.push("There was too much to read in one go: “Older” and “Newer” go on.");
  return parts.join(" ");
}

function recordTable(records, view) {
  return table([
    ["Partition", "number", (record) => record.partition],
    ["Offset", "number", (record) => number(record.offset)],
    ["Time (UTC)", "narrow mono", (record) => h("span", { title: record.timestamp_type }, time(record.timestamp))],
    ["Key", "", (record) => part(record, "key", view, "short")],
    ["Value", "broad", (record) => part(record, "value", view, "short")],
    ["Headers", "", (record) => headers(record, view, "short")],
  ], records, {
    empty: "No records here.",
    onRow: (record, row) => {
      if (!getSelection().isCollapsed) return; // somebody copies a part of it
      row.setAttribute("aria-expanded", String(row.getAttribute("aria-expanded") !== "true"));
      const isOpen = row.getAttribute("aria-expanded") === "true";
      const style = isOpen ? "" : "short";
      row.cells[3].replaceChildren(part(record, "key", view, style));
      row.cells[4].replaceChildren(part(record, "value", view, style));
      row.cells[5].replaceChildren(...headers(record, view, style));
    },
  });
}

/** A key or a value; of an internal topic what it means, and of a batch that cannot be shown why. */
function part(record, name, view, style) {
  if (record.problem) return name === "value" ? h("span", { class: "bad" }, record.problem) : "";
  if (view === "auto" && record.explained) {
    return h("pre", { class: style }, JSON.stringify(record.explained[name], null, style ? 0 : 2));
  }
  return content(record[name], view, style);
}

function headers(record, view, style) {
  if (record.problem) return [];
  const shown = record.headers.map((header) => h("div", { class: "header" }, h("span", { class: "quiet" }, `${header.name}: `), content(header.value, view, style)));
  if (record.headers_left_out) shown.push(h("div", { class: "quiet" }, `${record.headers_left_out} more`));
  return shown;
}
