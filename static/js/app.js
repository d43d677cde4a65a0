// The one script of a page. It enhances by attribute; pages work without.
import "./theme.js";
import "./menus.js";
import "./dialogs.js";
import "./forms.js";
import "./copy.js";
import "./time.js";
import "./range.js";
import "./rows.js";
import "./rove.js";
import "./keys.js";
import "./palette.js";
import "./requests.js";
import "./live.js";
import { all } from "./dom.js";

// Heavy ones come only where needed.
const later = (selector, load) => {
  let loaded = false;
  const look = () => { if (!loaded && all(selector).length) { loaded = true; load(); } };
  look();
  document.addEventListener("htmx:load", look);
  document.addEventListener("flowwatch:added", look);
};
later("[data-brush]", () => import("./brush.js"));
later("[data-json-url]", () => import("./json-tree.js"));
later("[data-chart-url]", () => import("./charts.js"));
