// One frame: its annotated tree, and beside it the bytes; pointing at a line, or going to it by the keyboard, marks what it was read from.

import { printable } from "./content.js";
import { bytes, check, h, leftOut, number } from "./dom.js";

const LINE = 16;
const WINDOW = 1024; // bytes that are drawn at a time

export function frameDetail(frame, explained, close) {
  const hex = h("div", { class: "hex" });
  const tree = h("div", { class: "tree" });
  const buffers = explained.buffers.map((buffer) => ({ ...buffer, data: bytesOf(buffer.hex) }));
  const point = (row, line) => {
    tree.querySelector(".chosen")?.classList.remove("chosen");
    line.classList.add("chosen");
    hex.replaceChildren(...hexView(buffers[row.buffer], row.start, row.end));
    hex.querySelector("mark")?.scrollIntoView({ block: "nearest" });
  };
  const parts = check("lengths and other parts", { change: () => fill() });
  const fill = () => {
    const shown = explained.rows.filter((row) => parts.firstChild.checked || !row.is_part);
    tree.replaceChildren(...shown.map((row) => treeLine(row, point)));
  };
  fill();
  hex.replaceChildren(...hexView(buffers[0], 0, 0));
  return h("div", { class: "panel detail" },
    h("div", { class: "bar" },
      h("b", {}, `${frame.is_request ? "→" : "←"} ${explained.title}`), h("span", { class: "quiet" }, `${bytes(frame.bytes)}, #${frame.correlation_id}`),
      parts, h("button", { click: close, "aria-label": "Close" }, "✕")),
    tree, explained.is_cut ? h("p", { class: "quiet padded" }, "The rest of the tree is not shown.") : null, hex);
}

function treeLine(row, point) {
  const line = h("div", { tabindex: 0, mouseenter: () => point(row, line), focus: () => point(row, line) },
    h("span", { class: "offset" }, row.start),
    h("span", { class: "name" }, row.name), h("span", { class: "type" }, `: ${row.type}`),
    row.value === null ? null : [" = ", h("span", { class: "value" }, row.value)],
    row.note ? h("span", { class: "note" }, `  ${row.note}`) : null,
    row.error ? h("span", { class: "bad" }, `  ← ${row.error}`) : null,
    row.comment ? h("span", { class: "comment" }, `  ${row.comment}`) : null);
  line.querySelector(".name").style.marginLeft = `${2 * row.depth}ch`;
  return line;
}

function bytesOf(hex) {
  return Uint8Array.from({ length: hex.length / 2 }, (_, index) => parseInt(hex.slice(2 * index, 2 * index + 2), 16));
}

/** Lines around `start`, with what is between it and `end` marked. */
function hexView(buffer, start, end) {
  const first = Math.max(start - (start % LINE) - 4 * LINE, 0);
  const last = Math.min(first + WINDOW, buffer.data.length);
  const shown = [h("div", { class: "quiet" }, `${buffer.name}, ${number(buffer.bytes)} bytes${end > start ? `: ${start} to ${end}` : ""}`)];
  for (let at = first; at < last; at += LINE) {
    const line = buffer.data.subarray(at, Math.min(at + LINE, last));
    const isMarked = (index) => at + index >= start && at + index < end;
    const gap = "   ".repeat(LINE - line.length);
    shown.push(h("div", {}, `${String(at).padStart(6)}  `,
      ...runs(line, isMarked, (byte) => `${byte.toString(16).padStart(2, "0")} `), `${gap} `, ...runs(line, isMarked, printable)));
  }
  const left = buffer.bytes - last;
  if (left > 0) shown.push(leftOut(left, "bytes"));
  return shown;
}

/** Texts of bytes, marked ones in one element. */
function runs(line, isMarked, text) {
  const made = [];
  line.forEach((byte, index) => {
    const marked = isMarked(index);
    const previous = made[made.length - 1];
    if (previous && previous.marked === marked) previous.text += text(byte);
    else made.push({ marked, text: text(byte) });
  });
  return made.map((run) => (run.marked ? h("mark", {}, run.text) : run.text));
}
