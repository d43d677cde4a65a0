// A tree of JSON that stays quick at megabytes: loaded when seen, children made when opened, long
// lists in slices, search in small steps. Everything goes in as text.
import { announce, enhance, fetchText, icon, make, one } from "./dom.js";
import { copy } from "./copy.js";

const SLICE = 100; // children shown at once
const LONG = 400; // letters shown of a text at once
const STEP = 20000; // letters added by "show more"
const MOST_HITS = 5000;
const MARK = /\[scrubbed:[a-z-]{1,40}:[0-9a-f]{1,64}\]/g;

/** A number that JavaScript can't hold exactly; its digits are kept as they were sent. */
class Exact {
  constructor(source) { this.source = source; }
  toJSON() { return JSON.rawJSON ? JSON.rawJSON(this.source) : Number(this.source); }
}

function parse(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (key, value, context) => (typeof value === "number" && context?.source && String(value) !== context.source && /^-?\d+$/.test(context.source) ? new Exact(context.source) : value));
}

const isBranch = (value) => value !== null && typeof value === "object" && !(value instanceof Exact) && !isCut(value);
const isCut = (value) => value !== null && typeof value === "object" && "__truncated__" in value && Object.keys(value).length === 1;
const keysOf = (value) => (Array.isArray(value) ? null : Object.keys(value));
const countOf = (value) => (Array.isArray(value) ? value.length : Object.keys(value).length);
const number = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const size = (bytes) => (bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1048576).toFixed(1)} MB`);
const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/** `["items", 0, "a b"]` is `$.items[0]["a b"]`. */
const pathText = (path) => path.reduce((said, part) => said + (typeof part === "number" ? `[${part}]` : /^[A-Za-z_$][\w$]*$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`), "$");

const more = (text, act, attributes = {}) => make("button", { class: "json-more", type: "button", text, onclick: (event) => { event.stopPropagation(); act(event.target); }, ...attributes });

// --- values
function textPieces(text) {
  const pieces = [];
  let end = 0;
  for (const found of text.matchAll(MARK)) {
    if (found.index > end) pieces.push(text.slice(end, found.index));
    const [, kind, mark] = found[0].slice(1, -1).split(":");
    pieces.push(make("span", { class: "json-chip scrubbed", title: "A secret was removed before storing. Equal marks were equal secrets.", text: `${kind.replaceAll("-", " ")} hidden · ${mark}` }));
    end = found.index + found[0].length;
  }
  if (end < text.length || !pieces.length) pieces.push(text.slice(end));
  return pieces;
}

function stringValue(text) {
  const value = make("span", { class: "json-value json-string" });
  let shown = text.length > LONG + 80 ? LONG : text.length;
  const fill = () => {
    value.replaceChildren('"', ...textPieces(text.slice(0, shown)));
    if (shown < text.length) {
      value.append(more(`… ${number(text.length - shown)} more letters`, () => { shown = Math.min(text.length, shown + STEP); fill(); }, { tabindex: "-1" }));
    } else value.append('"');
  };
  fill();
  return value;
}

function cutChip(mark) {
  const about = mark.__truncated__;
  const bytes = about?.bytes;
  const chip = make("span", { class: "json-chip", title: "More than the limit was sent; the rest was not stored.", text: `cut here${typeof bytes === "number" ? `: ${size(bytes)} were sent` : ""}` });
  const start = typeof about?.text === "string" ? about.text : null;
  return start === null ? chip : make("span", { class: "json-value" }, chip, " ", stringValue(start));
}

function valueView(value) {
  if (isCut(value)) return cutChip(value);
  if (typeof value === "string") return stringValue(value);
  const kind = value === null ? "null" : value instanceof Exact ? "number" : typeof value;
  return make("span", { class: `json-value json-${kind}`, text: value instanceof Exact ? value.source : String(value) });
}

// --- the tree
const groupOf = (node) => one(":scope > [role=group]", node);

class Tree {
  constructor(box, value, bytes) {
    this.box = box;
    this.value = value;
    this.name = box.dataset.jsonName;
    this.hits = [];
    this.at = -1;
    this.view = make("div", { class: "json-view", role: "tree", "aria-label": this.name });
    this.root = this.node(null, value, [], 1);
    this.root.tabIndex = 0;
    this.view.append(this.root);
    this.acts = this.makeActs();
    this.view.addEventListener("click", (event) => this.click(event));
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.view.addEventListener("focusin", (event) => this.focused(event.target.closest(".json-node")));
    this.view.addEventListener("pointerover", (event) => { const line = event.target.closest?.(".json-line"); if (line) line.append(this.acts); });
    box.replaceChildren(this.tools(bytes), this.view);
    this.open(this.root);
    this.unfold(60);
  }

  node(key, value, path, level) {
    const line = make("div", { class: "json-line" });
    if (key !== null) line.append(make("span", { class: `json-key${typeof key === "number" ? " json-index" : ""}`, text: key === "" ? '""' : String(key) }));
    const node = make("div", { class: "json-node", role: "treeitem", "aria-level": level, tabindex: "-1" }, line);
    node.json = { value, path, level };
    if (isBranch(value)) {
      const count = countOf(value);
      line.append(make("span", { class: "json-size", text: Array.isArray(value) ? `[${number(count)}]` : `{${number(count)}}` }));
      if (count) node.setAttribute("aria-expanded", "false");
    } else line.append(valueView(value));
    return node;
  }

  open(node) {
    if (!node.hasAttribute("aria-expanded")) return;
    node.setAttribute("aria-expanded", "true");
    let group = groupOf(node);
    if (!group) {
      group = make("div", { role: "group" });
      group.nodes = new Map(); // index -> node, of those that were made
      node.append(group);
      const rest = this.rest(node, 0, countOf(node.json.value));
      group.append(rest);
      this.fill(rest, 0);
    }
    group.hidden = false;
  }

  close(node) {
    if (node === this.root) return;
    node.setAttribute("aria-expanded", "false");
    groupOf(node).hidden = true;
  }

  /** A row that stands for the children from `from` up to `to`, which were not made yet. */
  rest(node, from, to) {
    const row = make("div", { class: "json-node", role: "treeitem", "aria-level": node.json.level + 1, tabindex: "-1" },
      make("div", { class: "json-line" }, make("span", { class: "json-more", text: `Show ${number(Math.min(SLICE, to - from))} more of ${number(to - from)}` })));
    row.json = { rest: { from, to } };
    return row;
  }

  /** Replace a rest row by a slice that begins at `start`; what is left stays a rest before and after. */
  fill(row, start) {
    const group = row.parentElement;
    const node = group.parentElement;
    const { value, path, level } = node.json;
    const { from, to } = row.json.rest;
    const keys = keysOf(value);
    const end = Math.min(to, start + SLICE);
    const made = document.createDocumentFragment();
    if (start > from) made.append(this.rest(node, from, start));
    for (let index = start; index < end; index += 1) {
      const key = keys ? keys[index] : index;
      const child = this.node(key, value[key], [...path, key], level + 1);
      group.nodes.set(index, child);
      made.append(child);
    }
    if (end < to) made.append(this.rest(node, end, to));
    row.replaceWith(made);
    return group.nodes.get(start);
  }

  /** Open small branches at the start, so that little data is seen at once. */
  unfold(lines) {
    const waiting = [...(groupOf(this.root)?.children || [])];
    let left = lines - waiting.length;
    while (waiting.length && left > 0) {
      const node = waiting.shift();
      if (node.json.rest || !node.hasAttribute("aria-expanded")) continue;
      const count = countOf(node.json.value);
      if (count > left || count > 25) continue;
      this.open(node);
      left -= count;
      waiting.push(...groupOf(node).children);
    }
  }

  // --- pointer and keyboard
  click(event) {
    const node = event.target.closest(".json-node");
    if (!node || event.target.closest("button")) return;
    if (node.json.rest) this.showRest(node);
    else if (node.getAttribute("aria-expanded") === "true" && !String(getSelection())) this.close(node);
    else this.open(node);
    if (node.isConnected) this.focus(node);
  }

  showRest(row) { this.focus(this.fill(row, row.json.rest.from)); }

  focus(node) { if (node) { node.focus({ preventScroll: true }); one(".json-line", node).scrollIntoView({ block: "nearest" }); } }

  focused(node) {
    if (!node) return;
    for (const old of this.view.querySelectorAll('.json-node[tabindex="0"]')) old.tabIndex = -1;
    node.tabIndex = 0;
    if (!node.json.rest) one(".json-line", node).append(this.acts);
  }

  next(node) {
    if (node.getAttribute("aria-expanded") === "true") return groupOf(node).firstElementChild;
    for (let at = node; at && at !== this.root; at = this.parent(at)) if (at.nextElementSibling) return at.nextElementSibling;
    return null;
  }
  previous(node) {
    let before = node.previousElementSibling?.matches(".json-node") ? node.previousElementSibling : null;
    if (!before) return this.parent(node);
    while (before.getAttribute("aria-expanded") === "true") before = groupOf(before).lastElementChild;
    return before;
  }
  parent(node) { return node === this.root ? null : node.parentElement.closest(".json-node"); }

  key(event) {
    const node = event.target.closest(".json-node");
    if (!node || event.target.matches("button") || event.ctrlKey || event.metaKey || event.altKey) return;
    const isOpen = node.getAttribute("aria-expanded") === "true";
    const keys = {
      ArrowDown: () => this.focus(this.next(node)),
      ArrowUp: () => this.focus(this.previous(node)),
      ArrowRight: () => (isOpen ? this.focus(this.next(node)) : this.open(node)),
      ArrowLeft: () => (isOpen && node !== this.root ? this.close(node) : this.focus(this.parent(node))),
      Home: () => this.focus(this.root),
      End: () => this.focus(this.last()),
      Enter: () => (node.json.rest ? this.showRest(node) : this.toggle(node)),
      " ": () => (node.json.rest ? this.showRest(node) : this.toggle(node)),
      c: () => copy(pretty(node.json.value)),
      p: () => copy(pathText(node.json.path)),
      "/": () => this.search.focus(),
    };
    if (!keys[event.key] || (node.json.rest && "cp".includes(event.key))) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }

  toggle(node) {
    const long = one(":scope > .json-line .json-more", node);
    if (long) long.click();
    else if (node.getAttribute("aria-expanded") === "true") this.close(node);
    else this.open(node);
  }

  last() {
    let node = this.root;
    while (node.getAttribute("aria-expanded") === "true") node = groupOf(node).lastElementChild;
    return node;
  }

  // --- copy, raw, search
  makeActs() {
    const act = (title, text, what) => more(text, async (button) => {
      if (!(await copy(what(button.closest(".json-node").json)))) return;
      button.textContent = "copied";
      setTimeout(() => { button.textContent = text; }, 1200);
    }, { title, tabindex: "-1" });
    return make("span", { class: "json-acts", "aria-hidden": "true" }, act("Copy the value (c)", "copy", (json) => pretty(json.value)), act("Copy the path (p)", "path", (json) => pathText(json.path)));
  }

  tools(bytes) {
    const button = (label, symbol, act, attributes = {}) => make("button", { class: "btn quiet tiny square", type: "button", "aria-label": label, title: label, onclick: act, ...attributes }, icon(symbol));
    this.search = make("input", { type: "search", placeholder: "Search keys and values", "aria-label": `Search in ${this.name}`, autocomplete: "off", spellcheck: "false" });
    this.found = make("span", { class: "json-found", role: "status" });
    this.steps = [button("Previous match", "up", () => this.step(-1)), button("Next match", "down", () => this.step(1))];
    for (const step of this.steps) step.hidden = true;
    let wait = 0;
    this.search.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => this.find(this.search.value), 200); });
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); this.step(event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") { event.stopPropagation(); if (this.search.value) { this.search.value = ""; this.find(""); } else this.focus(this.root); }
      if (event.key === "ArrowDown") { event.preventDefault(); this.focus(one('[tabindex="0"]', this.view)); }
    });
    const raw = button("As plain text", "executions", () => this.raw(raw), { "aria-pressed": "false" });
    const all = button(`Copy all (${this.box.dataset.jsonSize || size(bytes)})`, "copy", async () => { if (await copy(pretty(this.value))) announce("Copied everything."); });
    const download = this.box.dataset.jsonDownload && make("a", { class: "btn quiet tiny square", href: this.box.dataset.jsonDownload, download: true, "aria-label": `Download ${this.name}`, title: `Download (${this.box.dataset.jsonSize || size(bytes)})` }, icon("download"));
    return make("div", { class: "json-tools" }, this.search, this.found, ...this.steps, raw, all, download);
  }

  raw(button) {
    const shown = one(".json-raw", this.box);
    button.setAttribute("aria-pressed", String(!shown));
    this.view.hidden = !shown;
    if (shown) { shown.remove(); return; }
    const text = pretty(this.value);
    const pre = make("pre", {});
    const holder = make("div", { class: "json-view json-raw", tabindex: "0", "aria-label": `${this.name} as plain text` }, pre);
    let end = 0;
    const rest = more("", () => add());
    const add = () => {
      pre.append(text.slice(end, end + 10 * STEP));
      end = Math.min(text.length, end + 10 * STEP);
      rest.textContent = `Show more (${number(text.length - end)} letters left)`;
      rest.hidden = end >= text.length;
    };
    add();
    holder.append(rest);
    this.box.append(holder);
  }

  /** Search the data, not the page: matches in branches that were never opened are found too. */
  async find(text) {
    const query = text.trim().toLowerCase();
    const run = (this.run = {});
    this.hits = [];
    this.at = -1;
    this.mark(null);
    for (const step of this.steps) step.hidden = !query;
    if (!query) { this.found.textContent = ""; return; }
    let since = performance.now();
    for (const path of matches(this.value, query)) {
      if (path) this.hits.push(path);
      if (this.hits.length >= MOST_HITS) break;
      if (performance.now() - since > 12) {
        this.found.textContent = `${number(this.hits.length)} …`;
        await new Promise((go) => setTimeout(go));
        if (this.run !== run) return;
        since = performance.now();
      }
    }
    this.step(1, false);
  }

  step(by, moving = true) {
    const count = this.hits.length;
    if (!count) { this.found.textContent = this.search.value.trim() ? "nothing found" : ""; return; }
    this.at = (this.at + by + count) % count;
    this.found.textContent = `${number(this.at + 1)} of ${number(count)}${count >= MOST_HITS ? "+" : ""}`;
    this.mark(this.reveal(this.hits[this.at]));
    if (moving) announce(pathText(this.hits[this.at]));
  }

  reveal(path) {
    let node = this.root;
    for (const part of path) {
      this.open(node);
      const group = groupOf(node);
      const keys = keysOf(node.json.value);
      const index = keys ? keys.indexOf(part) : part;
      if (!group.nodes.has(index)) {
        const row = [...group.children].find(({ json: { rest } }) => rest && rest.from <= index && index < rest.to);
        this.fill(row, Math.max(row.json.rest.from, index - index % SLICE));
      }
      node = group.nodes.get(index);
    }
    return node;
  }

  mark(node) {
    one(".json-line.hit", this.view)?.classList.remove("hit");
    if (!node) return;
    const line = one(".json-line", node);
    line.classList.add("hit");
    line.scrollIntoView({ block: "nearest" });
    line.append(this.acts);
  }
}

/** Paths of what contains `query`, in reading order; null now and then, so that the caller can pause. */
function* matches(root, query) {
  const stack = [{ value: root, path: [], key: null }];
  let looked = 0;
  while (stack.length) {
    const { value, path, key } = stack.pop();
    looked += 1;
    if (looked % 500 === 0) yield null;
    const branch = isBranch(value);
    const text = branch || isCut(value) ? "" : value instanceof Exact ? value.source : String(value);
    if ((typeof key === "string" && key.toLowerCase().includes(query)) || (text && text.toLowerCase().includes(query))) yield path;
    if (!branch) continue;
    const keys = keysOf(value);
    for (let index = countOf(value) - 1; index >= 0; index -= 1) {
      const part = keys ? keys[index] : index;
      stack.push({ value: value[part], path: [...path, part], key: part });
    }
  }
}

// --- loading
async function load(box) {
  try {
    const text = await fetchText(box.dataset.jsonUrl);
    if (!text) return tell(box, "Nothing was recorded here.");
    let value;
    try { value = parse(text); } catch { value = text; }
    new Tree(box, value, new Blob([text]).size);
  } catch (error) {
    tell(box, error.message, make("button", { class: "btn tiny", type: "button", onclick: () => load(box) }, "Try again"));
  }
}
const tell = (box, text, ...more) => box.replaceChildren(make("div", { class: "card-body line-up wrap muted" }, make("p", { text }), ...more));

const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) { watcher.unobserve(target); load(target); }
}, { rootMargin: "100px" });
enhance("[data-json-url]", (box) => watcher.observe(box));
