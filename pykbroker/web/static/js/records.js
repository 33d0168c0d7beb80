// Records of a partition: from the beginning, the end, an offset or a time on; and the way to produce one.

import { ask, topicPath } from "./api.js";
import { content, VIEWS } from "./content.js";
import { check, h, labelled, number, select, table, time, to } from "./dom.js";
import { produceForm } from "./produce.js";

const STARTS = [["end", "newest"], ["beginning", "oldest"], ["offset", "offset"], ["timestamp", "time"]];

export async function show(page) {
  const name = page.parts[1];
  page.title(`Records of ${name}`);
  const topic = await ask(topicPath(name), {}, page.signal);
  const partition = select({ id: "partition" }, topic.partitions_told.map((each) => [each.index, each.index]), page.query.get("partition") ?? 0);
  const start = select({ id: "start", change: () => showFields() }, STARTS, "end");
  const offset = h("input", { type: "number", min: 0, value: 0 });
  const moment = h("input", { type: "datetime-local", step: 1 });
  const limit = h("input", { type: "number", min: 1, max: 500, value: 50 });
  const view = select({ id: "view", change: () => fill() }, VIEWS, "auto");
  const committed = check("committed only", {});
  const older = h("button", { type: "button", click: () => step(-1) }, "← Older");
  const newer = h("button", { type: "button", click: () => step(1) }, "Newer →");
  const offsetField = labelled("Offset", offset);
  const momentField = labelled("Time (here)", moment);
  const place = h("div");
  let told = null;

  const showFields = () => {
    offsetField.hidden = start.value !== "offset";
    momentField.hidden = start.value !== "timestamp";
    for (const field of [offsetField, momentField]) field.style.display = field.hidden ? "none" : "";
  };

  const read = async (from, at) => {
    const query = { partition: partition.value, from, limit: limit.value };
    if (at !== null) query.at = at;
    if (committed.firstChild.checked) query.isolation = "read_committed";
    try {
      told = await ask(topicPath(name, "/records"), query, page.signal);
    } catch (error) {
      if (page.signal.aborted) return;
      place.replaceChildren(h("div", { class: "panel empty bad" }, error.message));
      return;
    }
    fill();
  };

  const readAsTold = () => {
    const at = { offset: () => offset.value, timestamp: () => new Date(moment.value || 0).getTime() }[start.value];
    return read(start.value, at ? at() : null);
  };

  const step = (direction) => {
    if (told === null) return null;
    const first = told.records.length ? told.records[0].offset : told.next_offset;
    return read("offset", direction > 0 ? told.next_offset : Math.max(first - Number(limit.value), told.beginning));
  };

  const fill = () => {
    if (told === null) return;
    older.disabled = !told.records.length || told.records[0].offset <= told.beginning;
    newer.disabled = told.next_offset >= told.end;
    place.replaceChildren(
      h("p", { class: "quiet" }, `Partition ${told.partition} holds offsets ${number(told.beginning)} to ${number(told.end)} (exclusive).`),
      recordTable(start.value === "end" ? told.records.toReversed() : told.records, view.value),
    );
  };

  const form = h("form", {
    class: "bar", submit: (event) => {
      event.preventDefault();
      readAsTold();
    },
  }, labelled("Partition", partition), labelled("From", start), offsetField, momentField, labelled("Limit", limit),
  labelled("Show as", view), committed, h("button", { class: "main", id: "read" }, "Read"), older, newer);
  showFields();
  page.main.replaceChildren(
    h("div", { class: "crumbs" }, h("a", { href: "#/topics" }, "Topics"), " / ", h("a", { href: to("topics", name) }, name)),
    h("h1", {}, `Records of ${name}`), form,
    page.cluster.is_writable ? produceForm(name, topic.partitions, page.signal, (sent) => {
      partition.value = sent.partition;
      read("end", null);
    }) : "",
    place,
  );
  await readAsTold();
}

function recordTable(records, view) {
  return table([
    ["Offset", "number", (record) => number(record.offset)],
    ["Time (UTC)", "narrow mono", (record) => h("span", { title: record.timestamp_type }, time(record.timestamp))],
    ["Key", "", (record) => content(record.key, view, "short")],
    ["Value", "broad", (record) => content(record.value, view, "short")],
    ["Headers", "", (record) => headers(record, view, "short")],
  ], records, {
    empty: "No records here.",
    onRow: (record, row) => {
      if (!getSelection().isCollapsed) return; // somebody copies a part of it
      row.setAttribute("aria-expanded", String(row.getAttribute("aria-expanded") !== "true"));
      const isOpen = row.getAttribute("aria-expanded") === "true";
      const style = isOpen ? "" : "short";
      row.cells[2].replaceChildren(content(record.key, view, style));
      row.cells[3].replaceChildren(content(record.value, view, style));
      row.cells[4].replaceChildren(...headers(record, view, style));
    },
  });
}

function headers(record, view, style) {
  const shown = record.headers.map((header) => h("div", { class: "header" }, h("span", { class: "quiet" }, `${header.name}: `), content(header.value, view, style)));
  if (record.headers_left_out) shown.push(h("div", { class: "quiet" }, `${record.headers_left_out} more`));
  return shown;
}
