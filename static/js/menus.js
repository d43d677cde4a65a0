// Menus are popovers of the browser: it opens, closes and keeps them on top. Where it can't place
// them beside their button yet, this does; arrow keys walk through them everywhere.
import { all, on, one } from "./dom.js";

const placesItself = CSS.supports("position-area", "bottom");

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!(menu instanceof Element) || !menu.matches(".menu[popover]") || event.newState !== "open") return;
  if (!placesItself) place(menu);
  const first = one("[aria-current]", menu) || one("a, button, input", menu);
  if (first && !matchMedia("(pointer: coarse)").matches) first.focus({ preventScroll: true });
}, true);

function place(menu) {
  const button = one(`[popovertarget="${CSS.escape(menu.id)}"]`);
  if (!button) return;
  const at = button.getBoundingClientRect();
  const left = menu.classList.contains("end") ? at.right - menu.offsetWidth : at.left;
  menu.style.left = `${Math.max(8, Math.min(left, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.min(at.bottom, innerHeight - menu.offsetHeight - 8)}px`;
}

on("keydown", ".menu", (event, menu) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.target.matches("input, select")) return;
  const stops = all("a, button:not([disabled])", menu);
  const next = stops[(stops.indexOf(document.activeElement) + step + stops.length) % stops.length];
  if (next) { event.preventDefault(); next.focus(); }
});

on("click", ".menu a, .menu [data-dialog-open]", (event, item) => item.closest(".menu").hidePopover());
