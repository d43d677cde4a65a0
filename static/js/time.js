// Relative times stay true while the page is open. The words are those of the server (ui.ago).
import { all } from "./dom.js";

const STEPS = [[60, "s", 1], [3600, "min", 60], [86400, "h", 3600], [7 * 86400, "d", 86400]];

function ago(moment) {
  const seconds = (Date.now() - moment) / 1000;
  const span = Math.abs(seconds);
  if (span < 5) return "now";
  const step = STEPS.find(([limit]) => span < limit);
  if (!step) return null; // a date: it does not change
  const count = Math.floor(span / step[2]);
  return seconds > 0 ? `${count} ${step[1]} ago` : `in ${count} ${step[1]}`;
}

function tick() {
  if (document.hidden) return;
  for (const element of all("time[data-relative]")) {
    const said = ago(Date.parse(element.dateTime));
    if (said && said !== element.textContent) element.textContent = said;
  }
}
setInterval(tick, 10000);
document.addEventListener("visibilitychange", tick);
