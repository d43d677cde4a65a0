// Runs before the first paint (a classic script in the head), so that the page never flashes.
// "dark|system" means: this browser chose dark while the account said system. Once the account says
// something else, that is newer and wins.
(() => {
  try {
    const root = document.documentElement;
    const [choice, account] = (localStorage.getItem("flowwatch-theme") || "").split("|");
    if (!choice) return;
    if ("account" in root.dataset && root.dataset.theme !== account) localStorage.removeItem("flowwatch-theme");
    else root.dataset.theme = choice;
  } catch { /* storage is switched off: the account's choice stands */ }
})();
