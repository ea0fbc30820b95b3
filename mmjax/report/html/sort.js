"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead button").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const before = head.getAttribute("aria-sort");
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...body.rows].filter((row) => value(row) !== "");
      const empty = [...body.rows].filter((row) => value(row) === "");
      const numeric = rows.every((row) => !Number.isNaN(Number(value(row))));
      const first = numeric ? "descending" : "ascending";
      const second = numeric ? "ascending" : "descending";
      const order = before === first ? second : first;
      const sign = order === "ascending" ? 1 : -1;
      const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en");
      rows.sort((a, b) => sign * compare(value(a), value(b)));
      table.querySelector("[aria-sort]")?.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      body.append(...rows, ...empty);  // what is not known stays at the end
    });
  });
}
