// Small words for the document that every module uses. Text only ever goes in as text.

export const all = (selector, root = document) => [...root.querySelectorAll(selector)];
export const one = (selector, root = document) => root.querySelector(selector);

/** Call `handler(event, element)` when `type` happens on or in an element that matches `selector`, now or later. */
export function on(type, selector, handler, options) {
  document.addEventListener(type, (event) => {
    const element = event.target instanceof Element && event.target.closest(selector);
    if (element) handler(event, element);
  }, options);
}

/** Make an element: attributes as an object (null leaves out), then texts and elements. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
/** A symbol of the sprite, as decoration. */
export function icon(name, classes = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${classes}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${document.documentElement.dataset.icons}#${name}`);
  svg.append(use);
  return svg;
}

/** Say something to screen readers without moving the focus. */
export function announce(text) {
  const live = one("#live");
  if (live) live.textContent = text;
}

/** Show a message in the corner; errors stay until dismissed. */
export function toast(text, kind = "info") {
  const holder = one("#messages");
  if (!holder) return;
  const shape = { success: ["success", "good"], error: ["failed", "bad"], warning: ["warning", "warn"] }[kind] || ["info", "accent"];
  const close = make("button", { class: "btn quiet tiny square", type: "button", "data-dismiss": true, "aria-label": "Dismiss" }, icon("close"));
  const box = make("div", { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status" }, icon(...shape), make("span", { text }), close);
  for (const same of all(".toast", holder)) if (same.textContent === text) same.remove();
  holder.append(box);
  if (kind !== "error") setTimeout(() => box.remove(), 6000);
}

/** Whether the person is typing, so that single keys mean letters. */
export const isTyping = (target) => target instanceof Element && (target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable=true]") !== null);

/** Run `work` for every element that matches, now and in every part that htmx swaps in; once for each. */
export function enhance(selector, work) {
  const seen = new WeakSet();
  const run = (root) => {
    const found = all(selector, root);
    if (root instanceof Element && root.matches(selector)) found.unshift(root);
    for (const element of found) if (!seen.has(element)) { seen.add(element); work(element); }
  };
  run(document);
  document.addEventListener("htmx:load", (event) => run(event.detail.elt));
  document.addEventListener("flowwatch:added", (event) => run(event.target));
}

/** Fetch text of our own; throws an Error whose message can be shown. */
export async function fetchText(url, signal) {
  let answer;
  try {
    answer = await fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin", signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server could not be reached. Check the connection and try again.");
  }
  if (answer.redirected && answer.url.includes("/sign-in/")) throw new Error("You were signed out. Load the page again to sign in.");
  if (!answer.ok) throw new Error(answer.status === 404 ? "It does not exist any more." : `The server answered ${answer.status}. Try again in a moment.`);
  return answer.text();
}
export const fetchJson = async (url, signal) => JSON.parse(await fetchText(url, signal));
