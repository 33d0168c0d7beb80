// Which page is shown: the part of the address behind the # names it, and a page ends when the next one begins.
//
// A page is `show(page)`, with page.main to fill, page.parts and page.query of the address, page.cluster, page.signal
// (aborted when the page ends), and page.every(ms, look) to do something now and again.

import { ask } from "./api.js";
import { h } from "./dom.js";
import * as brokers from "./brokers.js";
import * as groups from "./groups.js";
import * as records from "./records.js";
import * as topics from "./topics.js";
import * as trace from "./trace.js";

const PAGES = [
  [/^topics$/, topics.list],
  [/^topics\/[^/]+$/, topics.one],
  [/^topics\/[^/]+\/records$/, records.show],
  [/^groups$/, groups.list],
  [/^groups\/[^/]+$/, groups.one],
  [/^brokers$/, brokers.list],
  [/^brokers\/[^/]+$/, brokers.one],
  [/^trace$/, trace.show],
];

const MAY_PASS = ["NO_ANSWER", "NO_BROKER", "NO_JSON", "NO_WORKER"]; // errors of a broker that is gone for a moment
const RETRY_MS = 2000;

const main = document.getElementById("main");
const banner = document.getElementById("banner");
let leaving = new AbortController();

async function go() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  if (path === "") {
    location.replace("#/topics");
    return;
  }
  markNavigation(path);
  showError(null);
  const found = PAGES.find(([pattern]) => pattern.test(path));
  const page = {
    main, signal, parts: path.split("/").map(decoded), query: new URLSearchParams(query ?? ""), cluster: null,
    every: (ms, look) => every(ms, look, signal), title,
  };
  if (!found) {
    main.replaceChildren(h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/topics" }, "To the topics")));
    return;
  }
  main.setAttribute("aria-busy", "true");
  try {
    page.cluster = await ask("cluster", {}, signal);
    showCluster(page.cluster);
    await found[1](page);
  } catch (error) {
    if (!signal.aborted) {
      main.replaceChildren(h("h1", {}, "This cannot be shown"), h("p", { class: "quiet" }, error.name ?? ""));
      showError(error);
      if (MAY_PASS.includes(error.name)) setTimeout(() => signal.aborted || go(), RETRY_MS);
    }
  } finally {
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Look now, and again after each pause until the page ends. A look that fails shows an error, and is tried again. */
async function every(ms, look, signal) {
  const attempt = async () => {
    try {
      await look();
      if (!signal.aborted) showError(null);
    } catch (error) {
      if (!signal.aborted) showError(error);
    }
  };
  const again = async () => {
    if (signal.aborted) return;
    if (!document.hidden) await attempt();
    if (!signal.aborted) setTimeout(again, ms);
  };
  await attempt();
  if (!signal.aborted) setTimeout(again, ms);
}

function markNavigation(path) {
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.getAttribute("href") === `#/${path.split("/")[0]}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function title(text) {
  document.title = `${text} – pykbroker`;
}

function showCluster(cluster) {
  const mode = cluster.is_writable ? "" : " · read-only";
  document.getElementById("cluster").textContent =
    `broker ${cluster.node_id} of ${cluster.brokers} · cluster ${cluster.cluster_id}${mode}`;
}

export function showError(error) {
  banner.hidden = error === null;
  banner.textContent = error === null ? "" : error.message;
}

window.addEventListener("hashchange", go);
go();
