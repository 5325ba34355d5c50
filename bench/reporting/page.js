"use strict";
// Sorting, filtering, choosing a figure, tips, and the theme. The page is whole without it.
const rows = [...document.querySelectorAll("#rows tbody tr")];
const heads = [...document.querySelectorAll("#rows th[aria-sort]")];

function value(row, column) {
  const cell = row.cells[column];
  if (!("value" in cell.dataset)) return cell.textContent.trim();
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compare(a, b, way) {
  const [noA, noB] = [a === null || a === "", b === null || b === ""];
  if (noA || noB) return noA - noB; // empty cells last, whichever way
  return way * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
}

heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  const way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  heads.forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
  rows.sort((a, b) => compare(value(a, column), value(b, column), way));
  document.querySelector("#rows tbody").append(...rows);
}));

const find = document.querySelector("#find");
const menus = [...document.querySelectorAll(".controls select")];

function filter() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word)) || menus.some((menu) =>
      menu.value && [...row.cells].find((cell) => cell.dataset.column === menu.dataset.column)?.textContent.trim() !== menu.value);
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.querySelector("#count").textContent = `${shown} of ${rows.length} rows`;
}
find.addEventListener("input", filter);
[find, ...menus].forEach((control) => control.addEventListener("change", filter));
filter();

document.querySelectorAll(".pick").forEach((pick) => pick.addEventListener("change", () =>
  pick.parentElement.querySelectorAll("figure").forEach((figure, i) => { figure.hidden = String(i) !== pick.value; })));

const tip = document.querySelector("#tip");
document.querySelectorAll("svg title").forEach((title) => { // our own tip comes at once, the browser's after a second
  const owner = title.parentElement;
  owner.dataset.tip = title.textContent;
  owner.setAttribute("aria-label", title.textContent);
  title.remove();
});
function showTip(owner, x, y) {
  tip.hidden = !owner;
  if (!owner) return;
  tip.textContent = owner.dataset.tip;
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.min(y + 14, innerHeight - tip.offsetHeight - 8)}px`;
}
document.addEventListener("pointermove", (event) =>
  showTip(event.target.closest?.("[data-tip]"), event.clientX, event.clientY));
document.addEventListener("focusin", (event) => { // by keyboard, too
  const owner = event.target.closest?.("[data-tip]");
  const box = owner?.getBoundingClientRect();
  showTip(owner, box?.right, box?.bottom);
});
document.addEventListener("focusout", () => showTip(null));
document.querySelector("#more")?.addEventListener("change", (event) =>
  document.querySelector("#rows").classList.toggle("all", event.target.checked));

function open() { // a link to a record opens it
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", open);
open();

document.querySelector("#theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
