"use strict";
const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Sorting: a button in the header; again for the other direction. Rows without a value stay last.
const body = find("#table tbody");
const headers = all("#table thead tr:last-child th");
const value = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value;
};
const compare = (a, b, numeric) => (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
headers.forEach((header, column) => {
  find("button", header).addEventListener("click", () => {
    const down = header.getAttribute("aria-sort") === "ascending";
    headers.forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...body.rows].map((row) => [value(row, column), row]);
    const numeric = body.rows.length > 0 && body.rows[0].cells[column].dataset.value !== undefined;
    keyed.sort(([a], [b]) => (a === "") - (b === "") || (a === "" ? 0 : (down ? -1 : 1) * compare(a, b, numeric)));
    body.append(...keyed.map(([, row]) => row));
  });
});

// Filtering: all conditions hold at once.
const [search, label, source, only] = ["search", "label", "source", "only"].map((id) => document.getElementById(id));
const text = new Map([...body.rows].map((row) => [row, [0, 2, 3].map((n) => row.cells[n].textContent).join(" ").toLowerCase()]));
const filter = () => {
  const words = search.value.toLowerCase().split(/\s+/);
  let count = 0;
  for (const row of body.rows) {
    const fits =
      words.every((word) => text.get(row).includes(word)) &&
      (!label.value || row.dataset.label === label.value) &&
      (!source.value || row.dataset.source === source.value) &&
      (!only.value || only.value in row.dataset);
    row.hidden = !fits;
    count += fits;
  }
  const rows = body.rows.length;
  find("#count").textContent = count === rows ? `${rows} images` : `${count} of ${rows} images`;
};
find("#filters").addEventListener("input", filter);
find("#filters").addEventListener("submit", (event) => event.preventDefault());
filter();

// One image with all maps. Previous and next follow the table as it is sorted and filtered.
const viewer = find("#viewer");
let open = null;
const show = (number) => {
  const template = find(`[data-template="${number}"]`);
  const origin = template ? find("article", template.content) : find(`[data-shown="${number}"]`);
  const copy = origin.cloneNode(true);
  copy.removeAttribute("data-shown");
  const button = find("h4 button", copy);
  if (button) button.replaceWith(button.textContent);
  find("#view").replaceChildren(copy);
  open = number;
  if (!viewer.open) viewer.showModal();
  viewer.scrollTop = 0;
};
const step = (by) => {
  const numbers = all("tr:not([hidden]) button.open", body).map((button) => button.dataset.open);
  const at = numbers.indexOf(open);
  const next = at < 0 ? 0 : (at + by + numbers.length) % numbers.length;
  if (numbers.length) show(numbers[next]);
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.classList.contains("open")) show(button.dataset.open);
  if (button.classList.contains("overlay")) {
    const bare = document.body.classList.toggle("bare");
    all("button.overlay").forEach((one) => one.setAttribute("aria-pressed", String(!bare)));
  }
});
find("#previous").addEventListener("click", () => step(-1));
find("#next").addEventListener("click", () => step(1));
find("#close").addEventListener("click", () => viewer.close());
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});

// A table that is wider than its box says so.
const hint = () =>
  all(".wide").forEach((box) => {
    const inner = find(".scroll", box);
    find(".hint", box).hidden = inner.scrollWidth <= inner.clientWidth + 1;
  });
addEventListener("resize", hint);
document.addEventListener("toggle", hint, true);
hint();
