// A drawing of many links ([data-rove]) is one stop of Tab; the arrows go from one to the next.
import { all, enhance } from "./dom.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

enhance("[data-rove]", (drawing) => {
  const links = all("a", drawing);
  const stopAt = (chosen) => { for (const link of links) link.setAttribute("tabindex", link === chosen ? "0" : "-1"); };
  stopAt(links.at(-1)); // the newest
  drawing.addEventListener("keydown", (event) => {
    const at = links.indexOf(event.target.closest("a"));
    if (at < 0 || !(event.key in STEPS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = links[Math.min(Math.max(at + STEPS[event.key], 0), links.length - 1)];
    stopAt(next);
    next.focus();
  });
});
