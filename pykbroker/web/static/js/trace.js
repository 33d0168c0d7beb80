// The live trace: a line for each request and answer, as they come, and each byte of the one that is chosen.
//
// The broker traces only while the stream is open: Stop, or leaving the page, closes it, and so does a tab that nobody has
// looked at for HIDDEN_MS; it goes on when somebody does. Frames that were seen can be looked at afterwards, as long as
// the broker keeps them.

import { ask, traceUrl } from "./api.js";
import { bytes, check, clickable, h, labelled, number } from "./dom.js";
import { frameDetail } from "./frame.js";

const MAX_LINES = 500;
const HIDDEN_MS = 30000;

export async function show(page) {
  page.title("Trace");
  const body = h("tbody");
  const state = h("span", { role: "status", id: "trace-state" });
  const button = h("button", { class: "main", id: "trace-switch", click: () => (source ? stop() : start()) }, "Stop");
  const filter = h("input", { type: "search", placeholder: "Fetch, a client, a field …", input: () => refilter() });
  const own = check("Show the console's own requests", { change: () => start() });
  const detail = h("div");
  const split = h("div", { class: "split" }, h("div", { class: "panel frames" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Time (UTC)", "Client", "", "Message", "Bytes", "Took", "Fields"].map((title) => h("th", { class: title === "Fields" ? "fields" : "" }, title)))), body)), detail);
  let source = null;
  let stream = null;
  let count = 0;
  let lost = 0;
  let isPaused = false; // stopped because nobody looks

  const start = () => {
    source?.close();
    body.replaceChildren();
    [count, lost] = [0, 0];
    isPaused = false;
    source = new EventSource(traceUrl(own.querySelector("input").checked));
    source.addEventListener("stream", (event) => {
      if (stream !== null && body.children.length) body.replaceChildren(); // it began anew: the old frames are gone
      stream = JSON.parse(event.data).number;
      tellState();
    });
    source.addEventListener("frame", (event) => add(JSON.parse(event.data)));
    source.addEventListener("lost", (event) => {
      lost += JSON.parse(event.data).count;
      tellState();
    });
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) {
        stop();
        state.textContent = "No trace: the broker is gone, or has as many live traces as it may.";
      }
    });
    button.textContent = "Stop";
    tellState();
  };

  const stop = () => {
    source?.close();
    source = null;
    button.textContent = "Start";
    tellState();
  };

  const tellState = () => {
    const losses = lost ? `, ${number(lost)} lost` : "";
    state.textContent = source ? `tracing: ${number(count)} frames${losses}` : `stopped: ${number(count)} frames${losses}`;
  };

  const add = (frame) => {
    count += 1;
    const row = frameRow(frame, async () => {
      for (const other of body.querySelectorAll("[aria-selected]")) other.removeAttribute("aria-selected");
      row.setAttribute("aria-selected", "true");
      split.classList.add("open");
      try {
        const explained = await ask(`trace/${stream}/${frame.number}`, {}, page.signal);
        detail.replaceChildren(frameDetail(frame, explained, () => {
          split.classList.remove("open");
          detail.replaceChildren();
        }));
      } catch (error) {
        if (!page.signal.aborted) detail.replaceChildren(h("div", { class: "panel empty bad" }, error.message));
      }
    });
    row.hidden = !matches(row);
    body.prepend(row);
    while (body.children.length > MAX_LINES) body.lastChild.remove();
    tellState();
  };

  const matches = (row) => row.textContent.toLowerCase().includes(filter.value.toLowerCase());
  const refilter = () => {
    for (const row of body.children) row.hidden = !matches(row);
  };

  let hiding = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden && source) {
      hiding = setTimeout(() => {
        stop();
        isPaused = true;
      }, HIDDEN_MS);
    } else if (isPaused) {
      start();
    }
  }, { signal: page.signal });
  page.signal.addEventListener("abort", () => {
    clearTimeout(hiding);
    source?.close();
  });
  page.main.replaceChildren(h("h1", {}, `Trace of broker ${page.cluster.node_id}`),
    h("div", { class: "bar" }, button, labelled("Filter", filter), own, h("label", { class: "check" }, state)), split);
  start();
}

function frameRow(frame, choose) {
  const time = new Date(frame.time_us / 1000).toISOString().slice(11, 23);
  return h("tr", clickable(choose),
    h("td", { class: "mono nowrap" }, time),
    h("td", { class: "mono nowrap" }, frame.peer),
    h("td", { class: frame.is_request ? "request" : "answer" }, frame.is_request ? "→" : "←"),
    h("td", { class: "nowrap" }, h("b", {}, frame.api), ` v${frame.version}`, h("span", { class: "quiet" }, ` #${frame.correlation_id}`)),
    h("td", { class: "number" }, bytes(frame.bytes)),
    h("td", { class: "number" }, frame.took),
    h("td", { class: "fields", title: frame.fields }, frame.error ? h("span", { class: "bad" }, frame.error, " ") : null, frame.client_id, " ", frame.fields));
}
