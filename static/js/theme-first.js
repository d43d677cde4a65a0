// Runs before the first paint (a classic script in the head), so that the page never flashes. A person's
// choice comes with the page; pages before sign-in follow what this browser saw last.
(() => {
  try {
    const seen = localStorage.getItem("flowwatch-theme");
    if (seen && !("account" in document.documentElement.dataset)) document.documentElement.dataset.theme = seen;
  } catch { /* storage is switched off: the system's choice stands */ }
})();
