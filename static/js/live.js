// A page that keeps up (#live-stamp asks, #live-… are its parts): what is read, selected or under a moving pointer
// stays as it is until the next look.
import { all } from "./dom.js";

let moved = 0; // when the pointer did
document.addEventListener("pointermove", () => { moved = Date.now(); }, { passive: true });

function inUse(part) {
  const selected = getSelection();
  return (part.matches(":hover") && Date.now() - moved < 5000) || part.querySelector(".hint:focus") !== null
    || (selected && !selected.isCollapsed && part.contains(selected.anchorNode));
}

// What has the focus in a part keeps it: the same link or button of the new part.
let focused = null;
const stops = (part) => all("a, button, input, [tabindex]", part);
const isLike = (one, other) => one.localName === other.localName && one.pathname === other.pathname && one.textContent === other.textContent;
function noteFocus(part) {
  const element = document.activeElement;
  focused = part.contains(element) ? { id: part.id, element, place: stops(part).indexOf(element) } : null;
}
document.addEventListener("htmx:oobAfterSwap", () => {
  if (!focused || focused.element.isConnected) return;
  const found = stops(document.getElementById(focused.id));
  (found.find((stop) => isLike(stop, focused.element)) || found[focused.place])?.focus({ preventScroll: true });
  focused = null;
});

let held = false;
document.addEventListener("htmx:oobBeforeSwap", ({ detail }) => {
  const id = detail.target.id;
  if (!id.startsWith("live-")) return;
  if (id !== "live-stamp") {
    if (inUse(detail.target)) { detail.shouldSwap = false; held = true; } else noteFocus(detail.target);
    return;
  }
  // The last one. With the old stamp the next look brings again what was held back.
  detail.shouldSwap = !held;
  held = false;
  document.dispatchEvent(new CustomEvent("flowwatch:refreshed"));
});
