/* What the report's page can do: sort and filter tables, open flame graphs, switch its colours. */
(() => {
  "use strict";
  const ROWS_AT_FIRST = 250;
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  /* Colours: as the system has them, until a reader chooses. */
  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const kept = {
    get: () => { try { return localStorage.getItem("hakmem-report-theme"); } catch (_) { return null; } },
    set: (value) => { try { localStorage.setItem("hakmem-report-theme", value); } catch (_) { /* not kept */ } },
  };
  const show = (name) => {
    if (name === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = name;
    theme.textContent = `Theme: ${name}`;
  };
  theme.hidden = false;
  show(themes.includes(kept.get()) ? kept.get() : "auto");
  theme.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme || "auto") + 1) % themes.length];
    kept.set(next);
    show(next);
    for (const details of all("details.flame[open]")) openFlame(details);
    for (const frame of all("details.flame:not([open]) iframe")) frame.remove();
  });

  /* Sorting: numbers by their value, which is in data-v; what has none comes last either way. */
  const collator = new Intl.Collator("en", { numeric: true });
  const key = (cell) => {
    if (!("v" in cell.dataset)) return cell.textContent.trim();
    const value = parseFloat(cell.dataset.v);
    return Number.isNaN(value) ? null : value;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
  function sort(table, place, direction) {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [key(row.cells[place]), row]);
    const sign = direction === "descending" ? -1 : 1;
    keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
    body.append(...keyed.map(([, row]) => row));
    all("th", table).forEach((heading, number) => {
      if (number === place) heading.setAttribute("aria-sort", direction); else heading.removeAttribute("aria-sort");
    });
    table.dispatchEvent(new Event("sorted"));
  }
  for (const table of all("table.sortable")) {
    all("th", table).forEach((heading, place) => {
      const button = heading.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const first = heading.classList.contains("n") ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        sort(table, place, heading.getAttribute("aria-sort") === first ? other : first);
      });
    });
  }

  /* The table of answers: filters, and no more lines than a page draws at once until asked. */
  const rows = document.getElementById("rows");
  if (rows) answers(rows, document.querySelector(".filters"), document.getElementById("more"));

  function answers(table, form, more) {
    const names = all("th", table).map((heading) => heading.dataset.column);
    const titles = all("th", table).map((heading) => heading.textContent);
    const lines = [...table.tBodies[0].rows].map((row) => {
      const line = { row, text: "" };
      [...row.cells].forEach((cell, place) => {
        cell.classList.add(`is-${names[place]}`);
        if (["base", "new", "interval", "pairs"].includes(names[place])) cell.dataset.name = titles[place];
        line[names[place]] = cell.textContent.trim();
      });
      line.text = row.textContent.toLowerCase();
      line.workload = row.dataset.w;
      return line;
    });
    const byRow = new Map(lines.map((line) => [line.row, line]));
    const selects = all("select", form).filter((select) => select.name !== "sort");
    let everything = false;

    function apply() {
      const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = selects.filter((select) => select.value).map((select) => [select.name, select.value]);
      let found = 0;
      for (const row of table.tBodies[0].rows) {
        const line = byRow.get(row);
        const fits = words.every((word) => line.text.includes(word)) &&
          wanted.every(([name, value]) => line[name] === value);
        found += fits ? 1 : 0;
        row.hidden = !fits || (!everything && found > ROWS_AT_FIRST);
      }
      const number = (value) => value.toLocaleString("en");
      form.querySelector("output").textContent = `${number(found)} of ${number(lines.length)} lines`;
      more.hidden = everything || found <= ROWS_AT_FIRST;
      more.textContent = `Show all ${number(found)} lines`;
      for (const tile of all(".tile[data-verdict]")) {
        tile.setAttribute("aria-pressed", String(form.elements.verdict.value === tile.dataset.verdict));
      }
    }
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => { everything = false; setTimeout(apply); });
    table.addEventListener("sorted", apply);
    more.addEventListener("click", () => { everything = true; apply(); });
    for (const tile of all(".tile[data-verdict]")) {
      tile.addEventListener("click", () => {
        const select = form.elements.verdict;
        select.value = select.value === tile.dataset.verdict ? "" : tile.dataset.verdict;
        apply();
        document.getElementById("answers").scrollIntoView({ block: "start" });
      });
    }
    /* On a phone the headings are not there: a choice stands for them. */
    const choice = form.elements.sort;
    titles.forEach((title, place) => {
      if (all("th", table)[place].querySelector("button")) choice.add(new Option(title, String(place)));
    });
    choice.value = String(names.indexOf("verdict"));
    choice.addEventListener("change", () => {
      const place = Number(choice.value);
      sort(table, place, all("th", table)[place].classList.contains("n") ? "descending" : "ascending");
    });
    window.addEventListener("beforeprint", () => { everything = true; apply(); });
    apply();
  }

  /* Flame graphs are large: each is built when it is opened, in a frame that can reach nothing else. */
  function openFlame(details) {
    const holder = details.querySelector(".holder");
    const forced = root.dataset.theme;
    let text = JSON.parse(details.querySelector("script").textContent);
    if (forced) text = text.replaceAll("(prefers-color-scheme: dark)", forced === "dark" ? "all" : "not all");
    const frame = document.createElement("iframe");
    frame.title = holder.dataset.title;
    frame.setAttribute("sandbox", "allow-scripts");
    frame.style.height = `${holder.dataset.height}px`;
    frame.srcdoc = text;
    holder.replaceChildren(frame);
  }
  for (const details of all("details.flame")) {
    details.addEventListener("toggle", () => {
      if (details.open && !details.querySelector("iframe")) openFlame(details);
    });
  }
  window.addEventListener("beforeprint", () => {
    for (const details of all("details:not(.flame)")) details.open = true;
  });
})();
