// Theme buttons: this browser remembers the choice; the account page sets it for all browsers.
import { all, on } from "./dom.js";

const root = document.documentElement;
const account = root.dataset.account === undefined ? "system" : serverChoice();

function serverChoice() {
  try { return (localStorage.getItem("flowwatch-theme") || "").split("|")[1] || root.dataset.theme; } catch { return root.dataset.theme; }
}

function mark() {
  for (const button of all("[data-theme-choice]")) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === (root.dataset.theme || "system")));
}

on("click", "[data-theme-choice]", (event, button) => {
  const choice = button.dataset.themeChoice;
  root.dataset.theme = choice;
  try {
    if (choice === account) localStorage.removeItem("flowwatch-theme");
    else localStorage.setItem("flowwatch-theme", `${choice}|${account}`);
  } catch { /* storage is switched off: the choice holds for this page */ }
  mark();
  document.dispatchEvent(new CustomEvent("flowwatch:theme"));
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if ((root.dataset.theme || "system") === "system") document.dispatchEvent(new CustomEvent("flowwatch:theme"));
});
mark();
