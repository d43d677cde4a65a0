// Theme buttons: the page changes at once, the account remembers it for all browsers.
import { all, on, toast } from "./dom.js";

const root = document.documentElement;
const current = () => root.dataset.theme || "system";

function remember() {
  try { localStorage.setItem("flowwatch-theme", current()); } catch { /* only pages before sign-in miss it */ }
}

function mark() {
  for (const button of all("[data-theme-choice]")) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === current()));
}

on("click", "[data-theme-choice]", (event, button) => {
  event.preventDefault();
  root.dataset.theme = button.dataset.themeChoice;
  mark();
  remember();
  document.dispatchEvent(new CustomEvent("flowwatch:theme"));
  const { form } = button;
  const choice = new FormData(form);
  choice.set("theme", current());
  fetch(form.action, { method: "POST", body: choice, credentials: "same-origin" })
    .catch(() => toast("The choice holds for this page only: the server could not be reached.", "warning"));
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (current() === "system") document.dispatchEvent(new CustomEvent("flowwatch:theme"));
});
if ("account" in root.dataset) remember();
mark();
