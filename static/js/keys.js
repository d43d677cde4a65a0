// The keyboard: what is listed in components/keys_help.html.
import { all, isTyping, one } from "./dom.js";
import { open } from "./dialogs.js";
import { openPalette } from "./palette.js";
import { clear, tickCurrent, walk } from "./rows.js";

const follow = (selector) => { const link = one(selector); link?.click(); return Boolean(link); };

function search() {
  const field = one("[data-page-search]");
  if (field) { field.focus(); field.select(); } else openPalette();
  return true;
}

const KEYS = {
  "?": () => { const help = one("#keys-help"); if (help) open(help); return Boolean(help); },
  "/": search,
  t: () => follow("#time-range"),
  j: () => { walk(1); return true; },
  k: () => { walk(-1); return true; },
  x: tickCurrent,
  "[": () => follow("a[rel=prev]"),
  "]": () => follow("a[rel=next]"),
};

let goUntil = 0;
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openPalette();
    return;
  }
  if (event.key === "Escape" && !event.defaultPrevented && !one("dialog[open], :popover-open")) {
    if (isTyping(event.target)) event.target.blur(); else if (clear()) event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isTyping(event.target) || one("dialog[open]")) return;
  if (event.timeStamp < goUntil) {
    goUntil = 0;
    const link = all("[data-go]").find((entry) => entry.dataset.go === event.key.toLowerCase());
    if (link) { event.preventDefault(); link.click(); return; }
  }
  if (event.key === "g") { goUntil = event.timeStamp + 1200; return; }
  if (event.target.closest?.("[role=tree]") && event.key !== "?") return;
  if (KEYS[event.key]?.()) event.preventDefault();
});
