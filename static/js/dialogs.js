// Dialogs: those in the page (data-dialog-open="id") and ordinary pages shown in one (a[data-modal-link]).
import { announce, all, on, one, toast } from "./dom.js";

export function open(dialog) {
  if (!dialog.open) dialog.showModal();
  const first = one("[autofocus], [aria-invalid=true], input:not([type=hidden]), select, textarea", dialog);
  if (first) first.focus();
}

on("click", "[data-dialog-open]", (event, button) => {
  const dialog = document.getElementById(button.dataset.dialogOpen);
  if (dialog) { event.preventDefault(); open(dialog); }
});
on("click", "[data-dialog-close]", (event, button) => button.closest("dialog")?.close());

// A click on the ground beside the dialog closes it, one that began inside does not.
let pressed = null;
document.addEventListener("pointerdown", (event) => { pressed = event.target; });
document.addEventListener("click", (event) => {
  if (event.target instanceof HTMLDialogElement && pressed === event.target) event.target.close();
});

// A page in a dialog: its main part is taken out of the answer. Without script it is a page.
on("click", "a[data-modal-link]", async (event, link) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  const modal = one("#modal");
  if (!modal) return;
  event.preventDefault();
  try {
    const answer = await fetch(link.href, { credentials: "same-origin", headers: { "X-Modal": "1" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const content = one("#main", page);
    if (!answer.ok || !content) throw new Error();
    modal.replaceChildren(heading(one("h1", content), link), body(content, answer.url));
    open(modal);
    window.htmx?.process(modal);
    modal.dispatchEvent(new CustomEvent("flowwatch:added", { bubbles: true }));
  } catch {
    location.assign(link.href);
  }
});

function heading(title, link) {
  const head = document.createElement("div");
  head.className = "dialog-head";
  const text = document.createElement("h2");
  text.id = "modal-title";
  text.textContent = title ? title.textContent.trim() : link.textContent.trim();
  const close = document.createElement("button");
  close.className = "btn quiet tiny";
  close.type = "button";
  close.dataset.dialogClose = "";
  close.textContent = "Close";
  head.append(text, close);
  title?.remove();
  return head;
}

function body(content, url) {
  const holder = document.createElement("div");
  holder.className = "dialog-body";
  holder.append(...content.childNodes);
  for (const form of all("form", holder)) if (!form.getAttribute("action")) form.setAttribute("action", url);
  return holder;
}

// Deleting asks for a word: the button waits for it.
on("input", "[data-confirm-word]", (event, input) => fits(input));
on("submit", "form", (event, form) => {
  const input = one("[data-confirm-word]", form);
  if (input && !fits(input)) { event.preventDefault(); input.focus(); toast(`Type ${input.dataset.confirmWord} to confirm.`, "warning"); }
});
function fits(input) {
  const right = input.value.trim() === input.dataset.confirmWord;
  input.setAttribute("aria-invalid", String(input.value !== "" && !right));
  if (right) announce("Confirmed.");
  return right;
}
