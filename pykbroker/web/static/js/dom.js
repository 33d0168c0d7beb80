// Elements and formats. Whatever comes from the cluster becomes text here, never markup: there is no innerHTML anywhere,
// and the page's Content-Security-Policy (trusted types) would refuse it.

/** Make an element: h("td", { class: "number" }, 5). Functions become listeners of the event that they are named for. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined).map(asNode));
  return element;
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/** A table of columns [title, class, row => content]. */
export function table(columns, rows, { empty = "Nothing to show.", onRow = null } = {}) {
  if (rows.length === 0) return h("div", { class: "panel empty" }, empty);
  const body = rows.map((row) => h(
    "tr",
    onRow ? clickable((element) => onRow(row, element)) : {},
    columns.map(([, style, content]) => h("td", { class: style }, content(row))),
  ));
  const head = h("tr", {}, columns.map(([title, style]) => h("th", { class: style, scope: "col" }, title)));
  return h("div", { class: "panel" }, h("table", {}, h("thead", {}, head), h("tbody", {}, body)));
}

/** Properties of a row that does something when it is clicked, or chosen by the keyboard. */
export function clickable(act) {
  return {
    class: "clickable", tabindex: 0, click: (event) => act(event.currentTarget),
    keydown: (event) => {
      if (event.key === "Enter" && event.target === event.currentTarget) act(event.currentTarget);
    },
  };
}

/** Put new children in the place of the old ones, where they differ: what is alike stays, with its focus and selection. */
export function replace(parent, ...children) {
  const wanted = children.filter((child) => child !== "" && child !== null).map(asNode);
  wanted.forEach((child, index) => {
    const old = parent.childNodes[index];
    if (old === undefined) parent.append(child);
    else renew(old, child);
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

function renew(old, wanted) {
  if (old.isEqualNode(wanted)) return;
  if (old.nodeName !== wanted.nodeName || !(old instanceof HTMLElement) || !alike(old, wanted)) {
    old.replaceWith(wanted);
    return;
  }
  replace(old, ...wanted.childNodes);
}

/** Whether two elements have the same attributes. Listeners are not seen: rows that act are made anew. */
function alike(one, other) {
  return !one.classList.contains("clickable") && one.attributes.length === other.attributes.length
    && [...one.attributes].every(({ name, value }) => other.getAttribute(name) === value);
}

export function facts(...pairs) {
  return h("div", { class: "facts" }, pairs.map(([name, value, style = ""]) =>
    h("div", { class: "fact" }, h("b", { class: style }, value), h("span", {}, name))));
}

export function select(properties, options, chosen) {
  return h("select", properties, options.map(([value, text]) =>
    h("option", { value, selected: String(value) === String(chosen) }, text)));
}

export function labelled(text, field, style = "") {
  return h("label", { class: style }, text, field);
}

export function check(text, properties) {
  return h("label", { class: "check" }, h("input", { type: "checkbox", ...properties }), text);
}

/** Say that a list is cut, where it is. */
export function leftOut(count, what) {
  return count > 0 ? h("p", { class: "quiet" }, `${number(count)} more ${what} are not shown.`) : null;
}

export const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function time(ms) {
  if (ms < 0) return "–";
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString().replace("T", " ").replace("Z", "");
}

export const to = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;
