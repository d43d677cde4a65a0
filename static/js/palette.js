// The command palette: pages at once, workflows and executions from the server (data-search-url).
import { all, fetchJson, icon, make, on, one } from "./dom.js";

const palette = one("#palette");
const input = one("#palette-input");
const list = one("#palette-list");
const note = one("[data-palette-note]");
let entries = [];
let asked = null;
let wait = 0;

export function openPalette() {
  if (!palette || palette.open) return;
  input.value = "";
  palette.showModal();
  show(local(""));
}

function local(text) {
  const words = text.toLowerCase().split(/\s+/);
  return all(".nav a, #account-menu > a")
    .map((link) => ({ label: link.textContent.trim(), url: link.href, hint: "page" }))
    .filter(({ label }, index, links) => links.findIndex((link) => link.label === label) === index)
    .filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
}

function show(found, say = "") {
  entries = found;
  list.replaceChildren(...found.map((entry, index) =>
    make("li", { role: "option", id: `palette-${index}`, "aria-selected": index === 0 ? "true" : "false", "data-index": index },
      icon({ workflow: "workflows", execution: "executions" }[entry.kind] || "arrow-right"),
      make("span", { class: "clip", text: entry.label }), make("span", { class: "nowrap", text: entry.hint || entry.kind || "" }))));
  mark(0);
  note.hidden = !say;
  note.textContent = say;
}

function mark(index) {
  for (const option of list.children) option.setAttribute("aria-selected", String(Number(option.dataset.index) === index));
  const chosen = list.children[index];
  input.setAttribute("aria-activedescendant", chosen ? chosen.id : "");
  chosen?.scrollIntoView({ block: "nearest" });
}

async function ask(text) {
  asked?.abort();
  if (!palette.dataset.searchUrl || !text) return;
  asked = new AbortController();
  try {
    const url = new URL(palette.dataset.searchUrl, location.href);
    url.searchParams.set("q", text);
    const { data } = await fetchJson(url, asked.signal);
    const found = [...local(text), ...data];
    show(found, found.length ? "" : "Nothing found. Workflows are found by their name, executions by their whole id.");
  } catch (error) {
    if (error.name !== "AbortError") show(local(text), error.message);
  }
}

const at = () => [...list.children].findIndex((option) => option.getAttribute("aria-selected") === "true");
const go = (entry) => { if (entry) { palette.close(); location.assign(entry.url); } };

if (palette) {
  input.addEventListener("input", () => {
    const text = input.value.trim();
    show(local(text));
    clearTimeout(wait);
    wait = setTimeout(() => ask(text), 150);
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && entries.length) { event.preventDefault(); mark((at() + step + entries.length) % entries.length); }
    if (event.key === "Enter") { event.preventDefault(); go(entries[at()]); }
    if (event.key === "Escape") { event.preventDefault(); palette.close(); } // browsers would only empty the field
  });
  list.addEventListener("click", (event) => go(entries[event.target.closest("li")?.dataset.index]));
  list.addEventListener("pointermove", (event) => { const option = event.target.closest("li"); if (option) mark(Number(option.dataset.index)); });
}
on("click", "[data-palette-open]", openPalette);
