// What a reader can do with a page: scroll wide boxes, sort long tables, enlarge figures, show code, read tips.
// Plain and offline; without it everything is still there.

const element = (name, about = {}) => Object.assign(document.createElement(name), about);

// Wide boxes scroll by themselves. They can be reached from the keyboard, and say that there is more.
function markScrolling() {
  for (const box of document.querySelectorAll(
    ".scrolls, div.cell_output, div.output, .pst-scrollable-table-container, figure, mjx-container[display], div.highlight pre",
  )) {
    const wide = box.scrollWidth > box.clientWidth + 1;
    const inner = box.querySelector(".scrolls, figure, div.output");
    if (wide && !(inner && inner.scrollWidth > inner.clientWidth + 1)) {
      box.tabIndex = 0;
      box.role ||= "group";
      box.ariaLabel ||= "scrolls sideways";
      const outer = box.closest("div.math, div.highlight") ?? box;
      if (!outer.previousElementSibling?.matches(".more")) {
        outer.before(element("p", { className: "more", textContent: "Scroll sideways for more →" }));
      }
    } else if (!wide && box.ariaLabel === "scrolls sideways") {
      box.removeAttribute("tabindex");
      const outer = box.closest("div.math, div.highlight") ?? box;
      if (outer.previousElementSibling?.matches(".more")) outer.previousElementSibling.remove();
    }
  }
}

// A click on a heading sorts the rows of each block; rows of details stay below theirs.
function makeSortable(table) {
  const key = (row, column) => row.cells[column]?.textContent.trim() ?? "";
  const compare = (one, other) => {
    const numbers = [one, other].map((text) => parseFloat(text.replace(/^[<>≈]\s*/, "").replaceAll(",", "")));
    return numbers.some(Number.isNaN) ? one.localeCompare(other) : numbers[0] - numbers[1];
  };
  for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
    const button = element("button", { type: "button", className: "sort", title: "Sort by this column" });
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const rising = heading.ariaSort !== "ascending";
      for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
      heading.ariaSort = rising ? "ascending" : "descending";
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.matches(".block, .details"));
        const below = new Map(rows.map((row) => [row, row.nextElementSibling?.matches(".details") && row.nextElementSibling]));
        rows.sort((one, other) => compare(key(one, column), key(other, column)) * (rising ? 1 : -1));
        for (const row of rows) body.append(row, ...(below.get(row) ? [below.get(row)] : []));
      }
    });
  }
}

// Figures open in their own size.
function makeEnlargeable(figure) {
  const images = figure.querySelectorAll("img");
  if (!images.length) return;
  const open = () => {
    const shown = [...images].find((image) => image.offsetParent) ?? images[0];
    const dialog = element("dialog", { className: "enlarged", ariaLabel: "Figure, enlarged" });
    const image = element("img", { src: shown.src, alt: shown.alt });
    image.style.width = `${1.6 * shown.getAttribute("width")}px`;
    const close = element("button", { type: "button", textContent: "Close" });
    dialog.append(close, image);
    document.body.append(dialog);
    dialog.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    dialog.showModal();
  };
  for (const image of images) image.addEventListener("click", open);
  const button = element("button", { type: "button", className: "enlarge", textContent: "Enlarge" });
  button.addEventListener("click", open);
  (figure.querySelector("figcaption") ?? figure).append(button);
}

// One switch for all code, remembered.
const cells = () => document.querySelectorAll("details.hide.above-input");
function showCode(open) {
  for (const cell of cells()) cell.open = open;
}
function e2mToggleCode() {
  const open = ![...cells()].some((cell) => cell.open);
  showCode(open);
  try {
    localStorage.setItem("e2m-code", open ? "open" : "folded");
  } catch {
    // A browser that stores nothing forgets the choice.
  }
}
window.e2mToggleCode = e2mToggleCode;

// A formula that is a little too wide for a phone is set smaller, down to two thirds.
function fitFormulas() {
  for (const box of document.querySelectorAll(".bd-article div.math")) {
    const inner = box.querySelector("mjx-container") ?? box;
    let size = 1;
    box.style.fontSize = "";
    // Gaps do not shrink with the letters, so that one step may not do.
    while (inner.scrollWidth > inner.clientWidth && size > 0.62) {
      size = Math.max(0.62, 0.97 * size * (inner.clientWidth / inner.scrollWidth));
      box.style.fontSize = `${size}em`;
    }
  }
}

// Titles of links to citations and terms become tips that the keyboard reaches too.
function makeTip(link) {
  const tip = element("span", { className: "tip", textContent: link.title, role: "tooltip" });
  tip.id = `tip-${document.querySelectorAll(".tip").length}`;
  link.removeAttribute("title");
  link.setAttribute("aria-describedby", tip.id);
  const show = () => {
    document.body.append(tip);
    const at = link.getBoundingClientRect();
    const left = Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = at.top > tip.offsetHeight + 8;
    tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
    tip.style.top = `${(above ? at.top - tip.offsetHeight - 4 : at.bottom + 4) + window.scrollY}px`;
  };
  const hide = () => tip.remove();
  for (const name of ["mouseenter", "focus"]) link.addEventListener(name, show);
  for (const name of ["mouseleave", "blur"]) link.addEventListener(name, hide);
  link.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll(".bd-article figure").forEach(makeEnlargeable);
  document.querySelectorAll(".bd-article a.reference[title]").forEach(makeTip);
  let chosen = null;
  try {
    chosen = localStorage.getItem("e2m-code");
  } catch {
    // As above.
  }
  if (chosen) showCode(chosen === "open");
  // Sizes hold as soon as the page does: images say theirs. Formulas and windows change them later.
  const measure = () => {
    fitFormulas();
    markScrolling();
  };
  measure();
  window.MathJax?.startup?.promise?.then(measure);
  new ResizeObserver(measure).observe(document.querySelector(".bd-article") ?? document.body);
});
