// Dialogs: those in the page (data-dialog-open="id"), ordinary pages shown in one (a[data-modal-link]), and questions
// before an act (form[data-confirm]).
import { all, on, one, toast } from "./dom.js";
import { fly } from "./requests.js";

export function open(dialog) {
  if (!dialog.open) dialog.showModal();
  const first = one("[autofocus], [aria-invalid=true], input:not([type=hidden]), select, textarea", dialog);
  if (first) first.focus();
}

on("click", "[data-dialog-open]", (event, button) => {
  const dialog = document.getElementById(button.dataset.dialogOpen);
  if (dialog) { event.preventDefault(); open(dialog); }
});
on("click", "[data-dialog-close]", (event, button) => {
  const dialog = button.closest("dialog");
  if (dialog) { event.preventDefault(); dialog.close(); }
});

// A click on the ground beside the dialog closes it, one that began inside does not.
let pressed = null;
document.addEventListener("pointerdown", (event) => { pressed = event.target; });
document.addEventListener("click", (event) => {
  if (event.target instanceof HTMLDialogElement && pressed === event.target) event.target.close();
});

// A page in a dialog: the main part of the answer, whose forms still go to that page.
on("click", "a[data-modal-link]", async (event, link) => {
  const modal = one("#modal");
  if (!modal || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  fly(1);
  try {
    const answer = await fetch(link.href);
    if (!answer.ok || answer.redirected) throw new Error();
    const main = one("#main", new DOMParser().parseFromString(await answer.text(), "text/html"));
    const title = one("h1", main);
    title.remove();
    for (const form of all("form:not([action])", main)) form.setAttribute("action", link.href);
    one("#modal-title").textContent = title.textContent;
    one(".dialog-body", modal).replaceChildren(...main.childNodes);
    open(modal);
    window.htmx?.process(modal);
    modal.dispatchEvent(new CustomEvent("flowwatch:added", { bubbles: true }));
  } catch {
    location.assign(link.href);
  } finally {
    fly(-1);
  }
});

// form[data-confirm="What happens"]: asked before it is sent; the button of the form names the act.
on("submit", "form[data-confirm]", (event, form) => {
  const question = one("#question");
  if (!question || form.dataset.confirmed) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const button = event.submitter;
  const act = one("[data-act]", question);
  one("p", question).textContent = form.dataset.confirm;
  act.textContent = button?.textContent.trim() || "Continue";
  act.classList.toggle("danger", Boolean(button?.matches(".danger")));
  act.onclick = () => { form.dataset.confirmed = "1"; question.close(); form.requestSubmit(button); };
  question.showModal();
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
