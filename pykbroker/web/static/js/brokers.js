// The brokers of the cluster.

import { ask } from "./api.js";
import { configsOf } from "./configs.js";
import { bytes, h, number, replace, table, to } from "./dom.js";

export async function list(page) {
  page.title("Brokers");
  await page.every(5000, async () => {
    const { brokers } = await ask("brokers", {}, page.signal);
    replace(page.main, h("h1", {}, "Brokers"), table([
      ["Id", "number", (broker) => (broker.address ? h("a", { href: to("brokers", broker.id) }, broker.id) : broker.id)],
      ["Address", "mono", (broker) => broker.address ?? h("span", { class: "bad" }, "is not there")],
      ["Role", "narrow", (broker) => (broker.is_controller ? "controller" : "–")],
      ["Rack", "", (broker) => broker.rack ?? "–"],
      ["Leads", "number", (broker) => number(broker.leads)],
      ["Replicas", "number", (broker) => number(broker.replicas)],
      ["Not in sync", "number", (broker) => h("span", { class: broker.not_in_sync ? "bad" : "" }, number(broker.not_in_sync))],
      ["Log directories", "mono", (broker) => (broker.address ? logDirs(broker.log_dirs) : "–")],
    ], brokers));
  });
}

export async function one(page) {
  const id = page.parts[1];
  page.title(`Broker ${id}`);
  const configs = await configsOf("broker", id, page.signal);
  page.main.replaceChildren(
    h("div", { class: "crumbs" }, h("a", { href: "#/brokers" }, "Brokers")), h("h1", {}, `Broker ${id}`), configs,
  );
}

function logDirs(dirs) {
  if (dirs === null) return h("span", { class: "bad" }, "does not answer");
  return dirs.map((dir) => h("div", { class: dir.error === "NONE" ? "" : "bad" },
    `${dir.path}  ${dir.error === "NONE" ? bytes(dir.bytes) : dir.error}`));
}
