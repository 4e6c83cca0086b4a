// Theme, links out of Airflow's frame, arrow keys, and the notice that something is new. Without it the pages work all the same.
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

// The frame may not leave itself: Airflow's own router follows the link in its place.
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

// A cheap version tells when there is something new; it is not loaded anew under the reader's hands.
const EVERY_SECONDS = 30;
let version = null;
let failures = 0;
async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch(`${root.dataset.root}/api/version`, { cache: "no-store" });
      if (answer.status === 401) return say("Your login has expired: reload Airflow.");
      const found = answer.ok ? (await answer.json()).version : null;
      if (found && version && found !== version) return say("There is something new. ", "Reload");
      version = found ?? version;
      failures = answer.ok ? 0 : failures + 1;
    } catch {
      failures += 1;
    }
  }
  setTimeout(look, EVERY_SECONDS * 1000 * 2 ** Math.min(failures, 5));
}
function say(words, link) {
  const place = document.querySelector(".updates");
  place.textContent = words;
  if (!link) return;
  const reload = document.createElement("a");
  reload.href = location.href;
  reload.textContent = link;
  place.append(reload);
}
look();
