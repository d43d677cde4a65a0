// The time range goes along from page to page in the address; this tab remembers it.
import { all, enhance, one } from "./dom.js";

const KEY = "flowwatch-range";
const NAMES = ["range", "start", "end"];

function remembered() {
  const here = new URLSearchParams(location.search);
  const chosen = new URLSearchParams(NAMES.filter((name) => here.has(name)).map((name) => [name, here.get(name)]));
  try {
    if (chosen.size && one("#time-range")) sessionStorage.setItem(KEY, chosen);
    return new URLSearchParams(sessionStorage.getItem(KEY) || "");
  } catch {
    return chosen; // storage is switched off: only links carry it
  }
}

function carry() {
  const range = remembered();
  for (const link of all("a[data-keep-range]")) {
    const url = new URL(link.href);
    if (NAMES.some((name) => url.searchParams.has(name) && !link.dataset.rangeAdded)) continue;
    for (const name of NAMES) url.searchParams.delete(name);
    for (const [name, value] of range) url.searchParams.append(name, value);
    link.dataset.rangeAdded = "1";
    link.href = url;
  }
}

enhance("a[data-keep-range]", carry);
document.addEventListener("htmx:pushedIntoHistory", carry);
