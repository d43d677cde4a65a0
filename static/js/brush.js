// Drag over the bars of a histogram ([data-brush]) to narrow the time to them. Each bar is a link to its own time.
import { all, on } from "./dom.js";

let from = null; // where the pointer went down
const bars = () => all("[data-brush] a");
const addressOf = (bar) => new URL(bar.getAttribute("href"), location);

function mark(to) {
  const [left, right] = [from, to].sort((a, b) => a - b);
  for (const bar of bars()) {
    const box = bar.getBoundingClientRect();
    bar.classList.toggle("brushed", to !== null && box.right > left && box.left < right);
  }
}

function stop() {
  mark(null);
  from = null;
}

on("pointerdown", "[data-brush]", (event) => { from = event.button === 0 ? event.clientX : null; });
on("dragstart", "[data-brush]", (event) => event.preventDefault()); // of the link, as browsers offer
document.addEventListener("pointermove", (event) => { if (from !== null) mark(event.clientX); });
document.addEventListener("pointercancel", stop);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(); });
document.addEventListener("pointerup", () => {
  const brushed = bars().filter((bar) => bar.matches(".brushed"));
  stop();
  if (brushed.length < 2) return; // one is a click
  const address = addressOf(brushed[0]);
  address.searchParams.set("end", addressOf(brushed.at(-1)).searchParams.get("end"));
  location.assign(address);
});
