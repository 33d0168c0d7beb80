// Configs of a topic or a broker, those that somebody set first.

import { ask } from "./api.js";
import { h, table } from "./dom.js";

const SOURCES = {
  DYNAMIC_TOPIC: "topic", DYNAMIC_BROKER: "broker", DYNAMIC_DEFAULT_BROKER: "all brokers", STATIC_BROKER: "properties",
  DEFAULT: "default", GROUP: "group", CLIENT_METRICS: "client metrics",
};

export async function configsOf(type, name, signal) {
  const { configs } = await ask("configs", { type, name }, signal);
  return h("section", {}, h("h2", {}, "Configs"), table([
    ["Name", "mono", (config) => h("span", { title: config.documentation ?? "" }, config.name)],
    ["Value", "mono", (config) => (config.is_sensitive ? "(hidden)" : config.value ?? "–")],
    ["Set for", "nowrap", (config) => h("span", { class: config.is_set ? "good" : "quiet" }, SOURCES[config.source] ?? config.source)],
    ["Meaning", "quiet", (config) => config.documentation ?? ""],
  ], configs));
}
