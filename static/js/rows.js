// Rows of a table or list: walk (j, k), open (Enter, click), select (x, Shift-click), act on many.
import { all, announce, enhance, on, one } from "./dom.js";

const ROWS = "tr[data-href], [data-row]";
const visible = () => all(ROWS).filter((row) => row.offsetParent !== null && !row.closest("dialog:not([open])"));
const current = () => one("tr.here") || document.activeElement?.closest?.(ROWS);

export function walk(step) {
  const rows = visible();
  if (!rows.length) return;
  const at = rows.indexOf(current());
  const row = rows[Math.max(0, Math.min(rows.length - 1, at === -1 ? (step > 0 ? 0 : rows.length - 1) : at + step))];
  for (const other of all("tr.here")) other.classList.remove("here");
  row.classList.add("here");
  const target = row.matches("tr") ? one("a[href]", row) || row : row;
  target.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

export function tickCurrent() {
  const box = current() && one("[data-select-row]", current());
  if (box) box.click();
  return Boolean(box);
}

document.addEventListener("focusin", (event) => {
  const row = event.target.closest?.("tr[data-href]");
  for (const other of all("tr.here")) if (other !== row) other.classList.remove("here");
});

// The whole row leads where its link leads; text in it can still be selected.
on("click", "tr[data-href]", (event, row) => {
  if (event.target.closest("a, button, input, label, summary") || String(getSelection())) return;
  if (event.metaKey || event.ctrlKey) open(row.dataset.href, "_blank", "noopener");
  else (one("a[href]", row) || { click: () => location.assign(row.dataset.href) }).click();
});

// --- selection: form[data-select] holds [data-select-row], [data-select-page] and the action bar
let last = null;
on("click", "[data-select-row]", (event, box) => {
  const boxes = all("[data-select-row]", box.form || document);
  if (event.shiftKey && last && last !== box && boxes.includes(last)) {
    const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
    for (const between of boxes.slice(from, to + 1)) between.checked = box.checked;
  }
  last = box;
});
on("change", "[data-select-row], [data-select-page]", (event, box) => {
  const form = box.form;
  if (box.matches("[data-select-page]")) for (const row of all("[data-select-row]", form)) row.checked = box.checked;
  refresh(form, false);
});
on("click", "[data-select-clear]", (event, button) => clear(button.form));
on("click", "[data-select-all-matching]", (event, button) => refresh(button.form, true));

export function clear(form = one("form[data-select]")) {
  const chosen = form ? all("[data-select-row]:checked", form) : [];
  for (const box of chosen) box.checked = false;
  if (form) refresh(form, false);
  return chosen.length > 0;
}

function refresh(form, allMatching) {
  const boxes = all("[data-select-row]", form);
  const chosen = boxes.filter((box) => box.checked);
  for (const box of boxes) box.closest("tr, [data-row]")?.classList.toggle("chosen", box.checked);
  const page = one("[data-select-page]", form);
  if (page) { page.checked = chosen.length > 0 && chosen.length === boxes.length; page.indeterminate = chosen.length > 0 && !page.checked; }
  const everything = one("[data-select-all-input]", form);
  if (everything) everything.value = allMatching ? "1" : "";
  const button = one("[data-select-all-matching]", form);
  // How many match comes after the list.
  const total = one("[data-select-total]")?.dataset.selectTotal;
  if (button && total) {
    button.textContent = `Select all ${total} that match`;
    button.dataset.selectAllMatching = `All ${total} that match are`;
  }
  if (button) button.hidden = allMatching || chosen.length < boxes.length;
  const count = one("[data-select-count]", form);
  const said = allMatching && button ? button.dataset.selectAllMatching || "all that match" : String(chosen.length);
  if (count) count.textContent = said;
  const bar = one("[data-select-bar]", form);
  if (bar) bar.hidden = chosen.length === 0;
  announce(chosen.length ? `${said} selected` : "Nothing selected");
}
document.addEventListener("htmx:afterSettle", () => { const form = one("form[data-select]"); if (form) refresh(form, false); });
// Browsers restore ticks when one comes back.
addEventListener("pageshow", () => { for (const form of all("form[data-select]")) refresh(form, false); });

// What grows to the right is read from there.
enhance("[data-scroll-end]", (box) => { box.scrollLeft = box.scrollWidth; });
