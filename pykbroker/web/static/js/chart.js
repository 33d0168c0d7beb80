// A live chart of some series by time: the last minutes, drawn by uPlot (a script of its own, hence the global).

/* global uPlot */

import { h, number } from "./dom.js";

const MAX_POINTS = 900;
const MAX_SERIES = 8;
const HEIGHT = 230;
const MIN_SECONDS = 60;
const LIGHT = ["#2056d6", "#c2410c", "#137a3f", "#9333ea", "#b45309", "#0e7490", "#be185d", "#4d7c0f"];
const DARK = ["#7ba6ff", "#fb923c", "#5bd08d", "#c79bff", "#f2c14e", "#5cc8dd", "#f58bb8", "#a8d15f"];

export class LiveChart {
  constructor(signal) {
    this.place = h("div");
    this.legend = h("div", { class: "legend" });
    this.element = h("div", { class: "panel chart" }, this.place, this.legend);
    this.points = []; // { time (s), values: Map of names to numbers }
    this.names = [];
    this.plot = null;
    const redraw = () => this.#rebuild();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", redraw, { signal });
    const size = new ResizeObserver(() => {
      if (this.plot !== null && this.plot.width !== this.place.clientWidth) redraw();
    });
    size.observe(this.place);
    signal.addEventListener("abort", () => {
      size.disconnect();
      this.plot?.destroy();
    });
  }

  /** Add what was seen at a time; series beyond MAX_SERIES are drawn as one. */
  add(timeMs, series) {
    const entries = Object.entries(series);
    const values = new Map(entries.slice(0, MAX_SERIES - 1));
    const others = entries.slice(MAX_SERIES - 1);
    if (others.length === 1) values.set(...others[0]);
    else if (others.length) values.set(`${others.length} others`, total(others));
    this.points.push({ time: timeMs / 1000, values });
    if (this.points.length > MAX_POINTS) this.points.shift();
    const names = [...new Set(this.points.flatMap((point) => [...point.values.keys()]))].slice(0, MAX_SERIES);
    if (this.plot === null || names.join("\n") !== this.names.join("\n")) {
      this.names = names;
      this.#rebuild();
    } else {
      this.plot.setData(this.#data());
      this.#fillLegend();
    }
  }

  #data() {
    return [this.points.map((point) => point.time),
      ...this.names.map((name) => this.points.map((point) => point.values.get(name) ?? null))];
  }

  #rebuild() {
    this.plot?.destroy();
    if (!this.place.isConnected || this.points.length === 0) return;
    const style = getComputedStyle(document.body);
    const axis = { stroke: style.color, grid: { stroke: "rgba(128,128,128,.18)", width: 1 }, ticks: { stroke: "rgba(128,128,128,.3)" } };
    this.plot = new uPlot({
      width: this.place.clientWidth, height: HEIGHT, legend: { show: false },
      scales: { x: { range: (_, first, last) => [Math.min(first, last - MIN_SECONDS), last] }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
      axes: [{ ...axis, space: 90, values: (_, ticks) => ticks.map((tick) => new Date(1000 * tick).toLocaleTimeString("en-GB")) }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? number(tick) : "")) }],
      series: [{}, ...this.names.map((name, index) => ({
        label: name, stroke: this.#colour(index), width: 2, fill: this.names.length === 1 ? `${this.#colour(index)}22` : undefined,
        points: { show: this.points.length < 3 },
      }))],
    }, this.#data(), this.place);
    this.#fillLegend();
  }

  #fillLegend() {
    const last = this.points[this.points.length - 1];
    this.legend.replaceChildren(...this.names.map((name, index) => {
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = this.#colour(index);
      return h("span", {}, swatch, name, " ", h("b", {}, number(last.values.get(name) ?? null)));
    }));
  }

  #colour(index) {
    return (matchMedia("(prefers-color-scheme: dark)").matches ? DARK : LIGHT)[index];
  }
}

/** The sum of some series; null where one of them is not known. */
function total(entries) {
  return entries.some(([, value]) => value === null) ? null : entries.reduce((sum, [, value]) => sum + value, 0);
}
