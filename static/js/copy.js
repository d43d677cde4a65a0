// Copy buttons: data-copy="text", or an empty one that copies [data-copy-text] of its frame.
import { announce, icon, on, one, toast } from "./dom.js";

// A browser may leave the question open, whether the page may write, without showing it.
const PATIENCE = 1000;
const late = () => new Promise((_, reject) => { setTimeout(reject, PATIENCE, new Error("no answer")); });

export async function copy(text) {
  try {
    await Promise.race([navigator.clipboard.writeText(text), late()]);
  } catch {
    if (!byHand(text)) { toast("The browser did not allow copying. Select the text and copy it by hand.", "warning"); return false; }
  }
  announce("Copied.");
  return true;
}

// Without https (a first trial on another machine) browsers have no clipboard for pages.
function byHand(text) {
  const area = document.createElement("textarea");
  const holder = document.activeElement?.closest("dialog") || document.body;
  const focused = document.activeElement;
  area.className = "hush";
  area.value = text;
  holder.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}

on("click", "[data-copy]", async (event, button) => {
  event.preventDefault();
  const source = button.closest("[data-copy-frame]")?.querySelector("[data-copy-text]");
  if (!(await copy(button.dataset.copy || source?.textContent || ""))) return;
  const old = one(".icon", button);
  if (!old) return;
  const done = icon("check", "good");
  old.replaceWith(done);
  setTimeout(() => done.replaceWith(old), 1500);
});
