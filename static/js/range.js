// The time range that a person chose in the control goes along with the menu; this tab remembers it. A fixed time
// that a link brought (a window around a failure) stays with its page and the links in it.
import { all, enhance, on, one } from "./dom.js";

const KEY = "flowwatch-range";
const CHOSEN = "flowwatch-range-chosen"; // the page that comes next has a range that was chosen
const NAMES = ["range", "start", "end"];

function shown() {
  const here = new URLSearchParams(location.search);
  return new URLSearchParams(NAMES.filter((name) => here.has(name)).map((name) => [name, here.get(name)]));
}

function remembered(range) {
  try {
    const chosen = sessionStorage.getItem(CHOSEN) || range.has("range");
    sessionStorage.removeItem(CHOSEN);
    if (range.size && chosen && one("#time-range")) sessionStorage.setItem(KEY, range);
    return new URLSearchParams(sessionStorage.getItem(KEY) || "");
  } catch {
    return range; // storage is switched off: only links carry it
  }
}

function carry() {
  const here = shown();
  const kept = remembered(here);
  for (const link of all("a[data-keep-range]")) {
    const url = new URL(link.href);
    if (NAMES.some((name) => url.searchParams.has(name) && !link.dataset.rangeAdded)) continue;
    for (const name of NAMES) url.searchParams.delete(name);
    for (const [name, value] of link.closest("nav") || !one("#time-range") ? kept : here) url.searchParams.append(name, value);
    link.dataset.rangeAdded = "1";
    link.href = url;
  }
}

function choose(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab gets it
  try { sessionStorage.setItem(CHOSEN, "1"); } catch { /* only links carry it */ }
}

on("click", "#time-range-menu a, #time-range-reset", choose);
on("submit", "#time-range-menu form", choose);
enhance("a[data-keep-range]", carry);
document.addEventListener("htmx:pushedIntoHistory", carry);
