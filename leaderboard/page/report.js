"use strict";
// Sorts the boards by their headings, filters entries, and opens the section that a link names.

const collator = new Intl.Collator("en", { numeric: true });

function compare(a, b, numbers) {
  return numbers ? Number(a) - Number(b) : collator.compare(a, b);
}

function sort(heading) {
  const column = heading.cellIndex;
  const body = heading.closest("table").tBodies[0];
  const before = heading.getAttribute("aria-sort");
  const first = "down" in heading.dataset ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? other : first;
  for (const one of heading.parentNode.cells) one.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const rows = [...body.rows].map((row) => [row.cells[column].dataset.value, row]);
  const known = rows.filter(([value]) => value !== "");
  const numbers = known.every(([value]) => !Number.isNaN(Number(value)));
  const sign = order === "ascending" ? 1 : -1;
  known.sort(([a], [b]) => sign * compare(a, b, numbers));
  // What has no value is last, whichever way the others go: an entry without a score never leads a board.
  const missing = rows.filter(([value]) => value === "");
  body.append(...known.concat(missing).map(([, row]) => row));
}

function filter() {
  const words = document.getElementById("text").value.toLowerCase().split(/\s+/);
  const track = document.getElementById("track").value;
  const status = document.getElementById("status").value;
  let shown = 0;
  let all = 0;
  const hidden = new Set();
  for (const section of document.querySelectorAll("section.track")) {
    section.hidden = track !== "" && section.dataset.track !== track;
    for (const row of section.querySelectorAll(".board tbody tr")) {
      const text = row.dataset.text.toLowerCase();
      const states = [row.dataset.status.replace(/ baseline$/, ""), row.dataset.status.endsWith(" baseline") ? "baseline" : ""];
      const fits = words.every((word) => text.includes(word)) && (status === "" || states.includes(status));
      if (!fits) hidden.add(row.dataset.entry);
      all += 1;
      shown += fits && !section.hidden ? 1 : 0;
    }
  }
  for (const one of document.querySelectorAll("[data-entry]")) one.hidden = hidden.has(one.dataset.entry);
  document.getElementById("count").textContent = `${shown} of ${all} entries`;
}

function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

for (const button of document.querySelectorAll(".board th button")) {
  button.addEventListener("click", () => sort(button.parentNode));
}
for (const name of ["text", "track", "status"]) document.getElementById(name).addEventListener("input", filter);
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("filter").hidden = false;
addEventListener("hashchange", open);
filter();
open();
