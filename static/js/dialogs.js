// Dialogs: those in the page (data-dialog-open="id"), and questions before an act (form[data-confirm]).
import { make, on, one, toast } from "./dom.js";

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

// form[data-confirm="What happens"]: asked before it is sent; the button of the form names the act.
on("submit", "form[data-confirm]", (event, form) => {
  const modal = one("#modal");
  if (!modal || form.dataset.confirmed) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const button = event.submitter;
  const act = make("button", { class: `btn primary ${button?.classList.contains("danger") ? "danger" : ""}`, type: "button", text: button?.textContent.trim() || "Continue" });
  act.addEventListener("click", () => { form.dataset.confirmed = "1"; modal.close(); form.requestSubmit(button); });
  modal.replaceChildren(make("div", { class: "dialog-head" }, make("h2", { id: "modal-title", text: "Are you sure?" })),
    make("div", { class: "dialog-body" }, make("p", { text: form.dataset.confirm })),
    make("div", { class: "dialog-foot" }, make("button", { class: "btn", type: "button", "data-dialog-close": true, text: "Cancel" }), act));
  modal.showModal();
}, true);

// Deleting asks for a word: the button waits for it.
on("input", "[data-confirm-word]", (event, input) => fits(input));
on("submit", "form", (event, form) => {
  const input = one("[data-confirm-word]", form);
  if (input && !fits(input)) { event.preventDefault(); input.focus(); toast(`Type ${input.dataset.confirmWord} to confirm.`, "warning"); }
});
function fits(input) {
  const right = input.value.trim() === input.dataset.confirmWord;
  input.setAttribute("aria-invalid", String(input.value !== "" && !right));
  return right;
}
