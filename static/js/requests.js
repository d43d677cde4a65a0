// htmx: a request in flight is seen, an error lands where it can be read, the focus stays.
import { on, one, toast } from "./dom.js";

const progress = one("#progress");
let flying = 0;
// [data-poll] asks again by itself: nothing is shown of it, a hidden tab does not ask.
const polls = (event) => event.detail.elt.matches("[data-poll]");
export function fly(step) { flying = Math.max(0, flying + step); progress?.classList.toggle("on", flying > 0); }
document.addEventListener("htmx:beforeRequest", (event) => { if (document.hidden && polls(event)) event.preventDefault(); });
document.addEventListener("htmx:beforeSend", (event) => polls(event) || fly(1));
document.addEventListener("htmx:afterRequest", (event) => polls(event) || fly(-1));

const sorry = (status) => ({
  0: "The server could not be reached. Check the connection and try again.",
  401: "You were signed out. Load the page again to sign in.",
  403: "Your role does not allow this.",
  404: "It does not exist any more. Load the page again.",
  429: "Too many requests. Wait a moment and try again.",
}[status] || `The server answered ${status}. Nothing was changed; try again in a moment.`);
const excuse = (event, said) => { if (!polls(event)) toast(said, "error"); };
document.addEventListener("htmx:sendError", (event) => excuse(event, sorry(0)));
document.addEventListener("htmx:timeout", (event) => excuse(event, "The server took too long. Try a shorter time range."));
document.addEventListener("htmx:responseError", (event) => excuse(event, sorry(event.detail.xhr.status)));

// A form that is wrong (422) comes back with its messages and is shown. htmx keeps the focus by id;
// what has none keeps it by name or address.
let focused = null;
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.xhr.status === 422) { detail.shouldSwap = true; detail.isError = false; }
  const element = document.activeElement;
  focused = element && element !== document.body ? { id: element.id, name: element.getAttribute("name"), href: element.getAttribute("href") } : null;
});
document.addEventListener("htmx:afterSettle", () => {
  if (!focused || document.activeElement !== document.body) return;
  const { id, name, href } = focused;
  const again = (id && document.getElementById(id)) || (name && one(`[name="${CSS.escape(name)}"]`)) || (href && one(`a[href="${CSS.escape(href)}"]`)) || one("#main");
  again?.focus({ preventScroll: true });
});

on("click", "[data-dismiss]", (event, button) => button.closest(".toast, .notice")?.remove());
