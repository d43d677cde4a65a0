// Menus are popovers of the browser: it opens, places, closes and keeps them on top. Arrow keys walk
// through them.
import { all, enhance, on, one } from "./dom.js";

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!(menu instanceof Element) || !menu.matches(".menu[popover]") || event.newState !== "open") return;
  const first = one("[aria-current]", menu) || one("a, button, input", menu);
  if (first && !matchMedia("(pointer: coarse)").matches) first.focus({ preventScroll: true });
}, true);

on("keydown", ".menu", (event, menu) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.target.matches("input, select")) return;
  const stops = all("a, button:not([disabled])", menu);
  const next = stops[(stops.indexOf(document.activeElement) + step + stops.length) % stops.length];
  if (next) { event.preventDefault(); next.focus(); }
});

// On a phone the current tab may lie beyond the edge.
enhance(".tabs > [aria-current]", (tab) => { tab.parentElement.scrollLeft = tab.offsetLeft - 24; });

on("click", ".menu a, .menu [data-dialog-open]", (event, item) => item.closest(".menu").hidePopover());
