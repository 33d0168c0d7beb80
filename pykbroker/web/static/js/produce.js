// Producing one record; only there where the broker lets the console write.

import { post, topicPath } from "./api.js";
import { base64OfHex } from "./content.js";
import { h, labelled, select } from "./dom.js";

const FORMATS = [["text", "text"], ["json", "JSON"], ["hex", "hex"], ["null", "null"]];

export function produceForm(topic, partitions, signal, onSent) {
  const choices = [["", "by key"], ...Array.from({ length: partitions }, (_, index) => [index, index])];
  const partition = select({}, choices, "");
  const key = h("input", { id: "key" });
  const keyFormat = select({}, FORMATS, "null");
  key.addEventListener("input", () => {
    if (keyFormat.value === "null") keyFormat.value = "text";
  });
  const value = h("textarea", { id: "value", spellcheck: "false" });
  const valueFormat = select({}, FORMATS, "text");
  const headers = h("textarea", { id: "headers", placeholder: "name: value", spellcheck: "false" });
  const said = h("span", { role: "status", id: "said" });
  const button = h("button", { class: "main", id: "produce" }, "Produce");

  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const sent = await post(topicPath(topic, "/records"), {
        partition: partition.value === "" ? null : Number(partition.value),
        key: encoded(key.value, keyFormat.value),
        value: encoded(value.value, valueFormat.value),
        headers: headersOf(headers.value),
      }, signal);
      said.className = "good";
      said.textContent = `Produced to partition ${sent.partition}, offset ${sent.offset}.`;
      onSent(sent);
    } catch (error) {
      said.className = "bad";
      said.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  };

  return h("details", { id: "produce-form" }, h("summary", {}, "Produce a record"),
    h("form", { class: "panel padded", submit: send },
      h("div", { class: "bar" }, labelled("Partition", partition), labelled("Key", key, "wide"), labelled("Key is", keyFormat)),
      h("div", { class: "bar" }, labelled("Value", value, "wide"), labelled("Value is", valueFormat), labelled("Headers, one a line", headers, "wide")),
      h("div", { class: "bar centred" }, button, said)));
}

function encoded(text, format) {
  if (format === "null") return null;
  if (format === "hex") return { base64: base64OfHex(text) };
  if (format === "json") JSON.parse(text); // says what is wrong with it
  return { text };
}

function headersOf(text) {
  return text.split("\n").filter((line) => line.trim()).map((line) => {
    const [name, ...rest] = line.split(":");
    return { name: name.trim(), value: rest.length ? { text: rest.join(":").trim() } : null };
  });
}
