// Charts by Plotly, drawn when they come into view (data shape: docs/ui.md). The frame has its height
// from the start. Every chart can be read as a table too.
import { enhance, fetchJson, icon, make, one } from "./dom.js";

const charts = new Map(); // plot element -> its data
let library = null;

/** Load Plotly once. Its style rules come as a file, so that the policy needs no exception. */
function plotly({ plotly: source, plotlyCss }) {
  library ??= (async () => {
    const rules = make("link", { rel: "stylesheet", id: "plotly.js-style-global", class: "no-inline-styles", href: plotlyCss });
    // It also carries the rules of a map that this build does not draw; this id says "there already".
    const map = make("meta", { id: "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53" });
    document.head.append(map);
    await Promise.all([loaded(rules), loaded(make("script", { src: source }))]);
    return globalThis.Plotly;
  })();
  library.catch(() => { library = null; });
  return library;
}

const loaded = (element) => new Promise((resolve, reject) => {
  element.addEventListener("load", resolve);
  element.addEventListener("error", () => reject(new Error("The drawing library could not be loaded. Load the page again.")));
  document.head.append(element);
});

// --- colours: tokens are OKLCH and know both themes; Plotly wants plain rgb
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function colour(token, probe) {
  probe.style.color = `var(--${token})`;
  canvas.fillStyle = getComputedStyle(probe).color;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
  return `rgb(${red}, ${green}, ${blue})`;
}
function palette(element) {
  const probe = make("span", { hidden: true });
  element.append(probe);
  const found = {};
  const get = (token) => (found[token] ??= colour(/^[a-z-]+$/.test(token || "") ? token : "accent", probe));
  return { get, done: () => probe.remove() };
}

// --- numbers as people say them
function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
  const minutes = Math.round(ms / 60000);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
const grouped = (number) => number.toLocaleString("en", { maximumFractionDigits: 2 }).replaceAll(",", "\u202f");
const said = (value, unit) => (value === null || value === undefined ? "no data" : unit === "ms" ? duration(value) : `${grouped(value)}${unit ? ` ${unit}` : ""}`);
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
function saidX(x) {
  const [, year, month, day, time] = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d:\d\d))?/.exec(x) || [];
  return year ? `${Number(day)} ${MONTHS[month - 1]}${time ? ` ${time}` : ` ${year}`}` : String(x);
}

const most = (data) => Math.max(0, ...data.x.map((_, index) => data.series.reduce((sum, series) => sum + (series.values[index] ?? 0), 0)));
function scale(data) {
  if (data.unit !== "ms") return { by: 1, suffix: data.unit ? ` ${data.unit}` : "" };
  const [by, suffix] = [[3600000, " h"], [60000, " min"], [1000, " s"]].find(([size]) => most(data) >= 2 * size) || [1, " ms"];
  return { by, suffix };
}

// A value between gaps has no line to it: it is a dot.
const lonely = (value, index, all) => ((all[index - 1] ?? null) === null && (all[index + 1] ?? null) === null ? 6 : 0);

// --- from our data to Plotly's
function figure(data, element) {
  const colours = palette(element);
  const { by, suffix } = scale(data);
  const bars = data.kind === "bars";
  // A time is where its step begins: bars and points stand in the middle of it, marks where they belong.
  const period = step(data) && { xperiod: step(data), xperiod0: wall(data.x[0]), xperiodalignment: "middle" };
  const traces = data.series.map((series) => {
    const tone = colours.get(series.tone);
    return {
      ...period, name: series.name, x: data.x, y: series.values.map((value) => (value === null ? null : value / by)),
      customdata: series.values.map((value) => said(value, data.unit)), hovertemplate: "%{customdata}",
      ...(bars ? { type: "bar", marker: { color: tone, opacity: series.tone === "success" ? 0.72 : 1, line: { width: 0 } } }
        : { type: "scatter", mode: "lines+markers", line: { color: tone, width: 2 }, connectgaps: false, marker: { color: tone, line: { width: 0 }, size: series.values.map(lonely) } }),
    };
  });
  const [text, muted, line, surface, raised, accent, strong] = "text muted line surface raised accent line-strong".split(" ").map(colours.get);
  const font = { family: getComputedStyle(element).fontFamily, size: 11.5, color: muted };
  const layout = {
    barmode: "stack", bargap: 0.16, font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 44, r: 8, t: 14, b: 34 }, showlegend: false, hovermode: "x unified", dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    hoverlabel: { bgcolor: surface, bordercolor: strong, font: { ...font, color: text, size: 12 } },
    xaxis: { gridcolor: line, showgrid: false, linecolor: line, zeroline: false, automargin: true, minallowed: edge(data, 0), maxallowed: edge(data, data.x.length), hoverformat: "%a %-d %b %Y %H:%M", tickformatstops: [
      { dtickrange: [null, 86399999], value: "%H:%M\n%-d %b" }, { dtickrange: [86400000, null], value: "%-d %b" }], spikecolor: strong },
    yaxis: { automargin: true, gridcolor: line, zeroline: false, fixedrange: true, rangemode: "tozero", ticksuffix: suffix, ticklabelstandoff: 6, nticks: 5, ...(!data.unit && most(data) < 6 ? { dtick: 1 } : {}), separatethousands: true },
    separators: ".\u202f",
    shapes: [...gaps(data, raised), ...(data.marks || []).map((mark) => ({ type: "line", x0: mark.x, x1: mark.x, y0: 0, y1: 1, yref: "paper", line: { color: accent, width: 1, dash: "dot" } }))],
    annotations: (data.marks || []).map((mark) => ({ x: mark.x, y: 1, yref: "paper", yanchor: "bottom", xanchor: "auto", text: escapeText(mark.label), showarrow: false, font: { ...font, color: accent } })),
  };
  colours.done();
  return { traces, layout };
}

// Plotly reads a little markup in texts: a name stays a name.
const escapeText = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** The clock on the wall as Plotly counts it: it ignores offsets. */
const wall = (x) => Date.parse(`${x.replace(" ", "T").replace(/([+-]\d\d:?\d\d|Z)$/, "")}${x.includes(":") ? "Z" : ""}`);

/** How long a step is, in ms; NaN when x are words. */
const step = (data) => wall(data.x[1] || "") - wall(data.x[0]);

/** Where a step of time begins, or after the last ends; undefined when x are words. */
function edge(data, index) {
  const begin = index < data.x.length ? wall(data.x[index]) : wall(data.x[index - 1]) + step(data);
  return step(data) ? new Date(begin).toISOString().slice(0, 19) : undefined;
}

/** Where nothing is known a shaded band stands: nothing happened and nothing known look different. */
function gaps(data, fill) {
  const bands = [];
  if (!step(data)) return bands;
  const unknown = data.x.map((_, index) => data.series.every((series) => series.values[index] === null));
  for (let from = 0; from < unknown.length; from += 1) {
    if (!unknown[from]) continue;
    let to = from;
    while (unknown[to + 1]) to += 1;
    bands.push({ type: "rect", x0: edge(data, from), x1: edge(data, to + 1), y0: 0, y1: 1, yref: "paper", fillcolor: fill, opacity: 0.9, line: { width: 0 }, layer: "below", label: { text: (to - from + 1) * 9 > unknown.length ? "no data" : "", font: { size: 11 } } });
    from = to;
  }
  return bands;
}

// --- one chart
async function show(frame) {
  const plot = one(".chart-plot", frame);
  try {
    const data = await fetchJson(frame.dataset.chartUrl);
    if (isEmpty(data)) return say(plot, "Nothing in this range.");
    const Plotly = await plotly(frame.dataset);
    plot.replaceChildren();
    await draw(Plotly, plot, data);
    tools(frame, plot, Plotly);
    listen(Plotly, plot);
  } catch (error) {
    say(plot, error.message, make("button", { class: "btn tiny", type: "button", onclick: () => { say(plot, "Loading…"); show(frame); } }, "Try again"));
  }
}

const isEmpty = (data) => !data.x.length || !data.series.some((series) => series.values.some((value) => value !== null));

/** Draw what has come since, unless somebody is looking closer; what can't be had now comes with the next look. */
async function refresh(plot) {
  const frame = plot.closest("[data-chart-url]");
  if (plot.hidden || one("[data-chart-reset]:not([hidden])", frame.closest(".card") || frame) || plot.matches(":hover")) return;
  const data = await fetchJson(frame.dataset.chartUrl).catch(() => null);
  if (data && !isEmpty(data)) draw(await library, plot, data);
}
document.addEventListener("flowwatch:refreshed", () => { for (const plot of charts.keys()) if (plot.isConnected) refresh(plot); });

function say(plot, text, ...more) {
  settle(plot);
  plot.replaceChildren(make("div", { class: "chart-say" }, make("p", { text }), ...more));
}
function settle(plot) { plot.removeAttribute("data-busy"); plot.setAttribute("aria-busy", "false"); }

async function draw(Plotly, plot, data) {
  const { traces, layout } = figure(data, plot);
  await Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: true, doubleClick: "reset", showTips: false });
  settle(plot);
  charts.set(plot, data);
  plot.classList.toggle("clickable", Boolean(data.links));
}

function listen(Plotly, plot) {
  const now = () => charts.get(plot);
  plot.on("plotly_click", ({ points, event }) => {
    const url = now().links?.[points[0].pointIndex];
    if (!url) return;
    if (event.metaKey || event.ctrlKey) open(url, "_blank", "noopener"); else location.assign(url);
  });
  // Charts over the same times move together.
  const partners = () => [...charts].filter(([other, its]) => other !== plot && other.isConnected && its.x[0] === now().x[0] && its.x.length === now().x.length).map(([other]) => other);
  let led = false;
  const lead = (work) => (event) => {
    if (plot.dataset.led || led) return;
    led = true;
    for (const other of partners()) { other.dataset.led = "1"; Promise.resolve(work(other, event)).finally(() => delete other.dataset.led); }
    led = false;
  };
  plot.on("plotly_hover", lead((other, { points }) => Plotly.Fx.hover(other, { xval: wall(points[0].x) + (step(now()) || 0) / 2, yval: 0 })));
  plot.on("plotly_unhover", lead((other) => Plotly.Fx.unhover(other)));
  plot.on("plotly_relayout", (event) => {
    const zoomed = "xaxis.range[0]" in event;
    if (!zoomed && !("xaxis.autorange" in event)) return;
    const reset = one("[data-chart-reset]", plot.closest("section, .card, body"));
    if (reset) reset.hidden = !zoomed;
    lead((other) => Plotly.relayout(other, zoomed ? { "xaxis.range": [event["xaxis.range[0]"], event["xaxis.range[1]"]] } : { "xaxis.autorange": true }))(event);
  });
}

function tools(frame, plot, Plotly) {
  const data = charts.get(plot);
  const legend = make("span", { class: "legend" }, ...data.series.map((series) => make("span", { class: /^[a-z]+$/.test(series.tone || "") ? `is-${series.tone} ${series.tone}` : "accent" }, make("i"), make("span", { text: series.name }))));
  const reset = make("button", { class: "btn tiny", type: "button", "data-chart-reset": true, hidden: true, onclick: () => Plotly.relayout(plot, { "xaxis.autorange": true }) }, "Reset zoom");
  const turn = () => {
    const old = one(".chart-table", frame);
    if (old) old.remove(); else frame.append(table(charts.get(plot), frame.dataset.chartTitle));
    plot.hidden = !old;
    toggle.setAttribute("aria-pressed", String(!old));
    if (old) Plotly.Plots.resize(plot);
  };
  const toggle = make("button", { class: "btn quiet tiny square", type: "button", "aria-pressed": "false", "aria-label": `${frame.dataset.chartTitle} as a table`, title: "As a table", onclick: turn }, icon("table"));
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `Chart: ${frame.dataset.chartTitle}. The button “As a table” shows its numbers.`);
  one("[data-chart-tools]", frame.closest(".card") || frame)?.replaceChildren(make("span", { class: "line-up" }, legend, reset, toggle));
}

function table(data, title) {
  const head = make("tr", {}, make("th", { scope: "col", text: data.x_title || "Time" }), ...data.series.map((series) => make("th", { scope: "col", class: "num", text: series.name })));
  const rows = data.x.map((x, index) => make("tr", {},
    make("th", { scope: "row" }, data.links?.[index] ? make("a", { class: "link", href: data.links[index], text: saidX(x) }) : saidX(x)),
    ...data.series.map((series) => make("td", { class: "num", text: said(series.values[index], data.unit) }))));
  return make("div", { class: "chart-table", tabindex: "0", role: "region", "aria-label": title },
    make("table", { class: "table" }, make("caption", { class: "hush", text: title }), make("thead", {}, head), make("tbody", {}, ...rows)));
}

// --- when: in view, and again in other colours
const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) { watcher.unobserve(target); show(target); }
}, { rootMargin: "200px" });
enhance("[data-chart-url]", (frame) => watcher.observe(frame));

document.addEventListener("flowwatch:theme", async () => {
  const Plotly = await library;
  for (const [plot, data] of charts) if (plot.isConnected) draw(Plotly, plot, data); else { Plotly.purge(plot); charts.delete(plot); }
});
document.addEventListener("htmx:beforeCleanupElement", (event) => {
  for (const plot of charts.keys()) if (event.target === plot || event.target.contains?.(plot)) { globalThis.Plotly?.purge(plot); charts.delete(plot); }
});
