// Bytes of keys, values and headers, as people want to see them: JSON, text or hexadecimal.

import { bytes, h } from "./dom.js";

export const VIEWS = [["auto", "automatic"], ["text", "text"], ["json", "JSON"], ["hex", "hex"]];
const HEX_LINE = 16;

/** An element for what the API says of some bytes: null, or { base64, bytes }; JSON on one line if it is to be short. */
export function content(payload, view, style = "") {
  if (payload === null) return h("span", { class: "quiet" }, "null");
  const data = Uint8Array.from(atob(payload.base64), (character) => character.charCodeAt(0));
  const rest = payload.bytes > data.length ? `\n… ${bytes(payload.bytes)} in all` : "";
  return h("pre", { class: style }, shown(data, view, style === "short") + rest);
}

function shown(data, view, isShort) {
  if (view === "hex") return hexLines(data);
  const text = asText(data, view !== "text");
  if (text === null) return hexLines(data);
  if (view === "text") return text;
  try {
    const value = JSON.parse(text);
    const isStructure = typeof value === "object" && value !== null;
    if (view === "json" || (isStructure && !isShort)) return JSON.stringify(value, null, 2);
  } catch {
    // It is no JSON: text will do.
  }
  return text;
}

function asText(data, isStrict) {
  try {
    return new TextDecoder("utf-8", { fatal: isStrict }).decode(data);
  } catch {
    return null;
  }
}

export function hexLines(data) {
  const lines = [];
  for (let start = 0; start < data.length; start += HEX_LINE) {
    const line = [...data.subarray(start, start + HEX_LINE)];
    const digits = line.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    lines.push(`${start.toString(16).padStart(4, "0")}  ${digits.padEnd(3 * HEX_LINE)} ${line.map(printable).join("")}`);
  }
  return lines.join("\n");
}

export const printable = (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·");

/** Read hexadecimal digits, with spaces or without, as base64. */
export function base64OfHex(text) {
  const digits = text.replace(/\s/g, "");
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) throw new Error("This is not hexadecimal.");
  return btoa((digits.match(/../g) ?? []).map((pair) => String.fromCharCode(parseInt(pair, 16))).join(""));
}
