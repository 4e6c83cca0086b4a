// Theme, links out of Airflow's frame, arrow keys, and the notice of new data. The pages also work without it.
"use strict";

const root = document.documentElement;

// Airflow keeps the chosen theme here and shows these pages in a frame of the same origin.
function theme() {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  else delete root.dataset.theme;
}
theme();
addEventListener("storage", (event) => event.key === "theme" && theme());

// The frame cannot navigate its parent: Airflow's own router follows the link.
addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.hasAttribute("data-airflow")) {
    if (window.parent === window) return;
    event.preventDefault();
    window.parent.history.pushState(null, "", link.href);
    window.parent.dispatchEvent(new PopStateEvent("popstate", { state: null }));
  } else if (!link.hash) busy();
});
addEventListener("submit", busy);
addEventListener("pageshow", () => document.getElementById("main").removeAttribute("aria-busy"));

function busy() {
  document.getElementById("main").setAttribute("aria-busy", "true");
}

addEventListener("keydown", (event) => {
  const cell = event.target.closest(".grid td");
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!cell || !step) return;
  const rows = [...document.querySelectorAll(".grid tbody tr")];
  let row = rows.indexOf(cell.parentElement) + step[0];
  let column = cell.cellIndex + step[1];
  for (; rows[row] && rows[row].cells[column]; row += step[0], column += step[1]) {
    const link = rows[row].cells[column].querySelector("a");
    if (link) {
      event.preventDefault();
      return link.focus();
    }
  }
});

// Polls a cheap version and offers a reload when there is new data; it never reloads by itself.
const EVERY_SECONDS = 30;
let version = null;
let failures = 0;
async function poll() {
  if (!document.hidden) {
    try {
      const response = await fetch(`${root.dataset.root}/api/version`, { cache: "no-store" });
      if (response.status === 401) return say("Your login has expired: reload Airflow.");
      const latest = response.ok ? (await response.json()).version : null;
      if (latest && version && latest !== version) return say("New data is available. ", "Reload");
      version = latest ?? version;
      failures = response.ok ? 0 : failures + 1;
    } catch {
      failures += 1;
    }
  }
  setTimeout(poll, EVERY_SECONDS * 1000 * 2 ** Math.min(failures, 5));
}
function say(message, link) {
  const status = document.querySelector(".updates");
  status.textContent = message;
  if (!link) return;
  const reload = document.createElement("a");
  reload.href = location.href;
  reload.textContent = link;
  status.append(reload);
}
poll();
