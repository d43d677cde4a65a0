// Forms: focus on the first error, no second sending, filters that apply themselves.
import { enhance, on, one } from "./dom.js";

enhance("form[data-form]", (form) => {
  const wrong = one("[aria-invalid=true]", form);
  if (wrong) wrong.focus();
});

// A second click must not send a second time; back from the history makes the form usable again.
on("submit", "form[method=post]", (event, form) => {
  if (event.defaultPrevented || form.hasAttribute("hx-post")) return;
  if (form.classList.contains("sending")) { event.preventDefault(); return; }
  if (!form.hasAttribute("data-streams")) form.classList.add("sending");
});
addEventListener("pageshow", () => { for (const form of document.querySelectorAll("form.sending")) form.classList.remove("sending"); });

// form[data-autosubmit]: choices apply at once, typing after a pause. htmx sends it when hx-get is there.
const waits = new WeakMap();
const send = (form) => { clearTimeout(waits.get(form)); if (form.isConnected) form.requestSubmit(); };
on("change", "form[data-autosubmit]", (event, form) => { if (!event.target.matches("[type=search], [type=text]")) send(form); });
on("input", "form[data-autosubmit]", (event, form) => {
  if (!event.target.matches("[type=search], [type=text]")) return;
  clearTimeout(waits.get(form));
  waits.set(form, setTimeout(() => send(form), 350));
});
on("submit", "form[data-autosubmit]", (event, form) => clearTimeout(waits.get(form)), true);

// Empty fields stay out of the address.
on("submit", "form[method=get], form:not([method])", (event, form) => {
  if (form.hasAttribute("hx-get")) return;
  const idle = [...form.elements].filter((field) => field.name && field.value === "" && !field.disabled);
  for (const field of idle) field.disabled = true;
  setTimeout(() => { for (const field of idle) field.disabled = false; });
});
document.addEventListener("htmx:configRequest", (event) => {
  const { parameters, verb } = event.detail;
  if (verb === "get") for (const name of Object.keys(parameters)) if (parameters[name] === "") delete parameters[name];
});

// A slider moves with the number field that it names, and the field with it.
on("input", "[data-slider]", (event, slider) => { document.getElementById(slider.dataset.slider).value = slider.value; });
on("input", "[type=number]", (event, field) => { for (const slider of document.querySelectorAll(`[data-slider="${field.id}"]`)) slider.value = field.value; });
