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

// The page's own JSON tells when there is something new; it is not loaded anew under the reader's hands.
const EVERY_SECONDS = 30;
let tag = null;
async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(root.dataset.live, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    if (answer.status === 401) say("Your login has expired: reload Airflow.");
    else if (answer.ok && tag && answer.headers.get("ETag") !== tag) say("There is something new. ", "Reload");
    else if (answer.ok) tag = answer.headers.get("ETag");
  } catch {
    say("Airflow does not answer.");
  }
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
if (root.dataset.live) {
  look();
  setInterval(look, EVERY_SECONDS * 1000);
}
