/* Zooming, searching and telling in a flame graph. Knows its own picture only, whatever page that is in. */
(function () {
  "use strict";
  const picture = document.currentScript.ownerSVGElement;
  const detail = picture.querySelector(".hakflame-detail");
  const idle = detail.textContent;
  const glyph = 7.3; // pixels a letter takes
  const slack = 1e-3; // per cent: places are rounded
  const frames = Array.from(picture.querySelectorAll(".hakflame-frame"), (element) => {
    const told = element.querySelector("title").textContent;
    const x = parseFloat(element.getAttribute("x"));
    const width = parseFloat(element.getAttribute("width"));
    return { element, told, name: told.split("\n")[0], x, end: x + width,
      y: parseFloat(element.getAttribute("y")), shownWidth: width };
  });
  const byElement = new Map(frames.map((frame) => [frame.element, frame]));
  const root = frames[0];
  let zoomed = root;

  function make(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/1999/xhtml", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  }

  // By itself on a phone it is as wide as the phone. (A page around it says so itself.)
  if (document.documentElement === picture) {
    picture.append(make("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }));
  }
  const place = document.createElementNS("http://www.w3.org/2000/svg", "foreignObject");
  for (const [key, value] of Object.entries({ x: 0, y: 64, width: "100%", height: 36 })) {
    place.setAttribute(key, value);
  }
  const tools = make("div", { class: "hakflame-tools" });
  const search = make("input", { type: "search", placeholder: "search", spellcheck: "false",
    autocomplete: "off", "aria-label": "search for a function" });
  const reset = make("button", { type: "button", disabled: "" }, "Reset zoom");
  const found = make("span", { role: "status" });
  tools.append(search, reset, found);
  place.append(tools);
  picture.append(place);

  function label(frame) {
    const pixels = picture.getBoundingClientRect().width * frame.shownWidth / 100;
    const letters = Math.floor((pixels - 5) / glyph);
    let text = frame.element.querySelector("text");
    if (letters < 3) {
      if (text) text.textContent = "";
      return;
    }
    if (!text) {
      text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      text.setAttribute("x", "3");
      text.setAttribute("y", "13");
      frame.element.append(text);
    }
    const fits = frame.name.length <= letters;
    text.textContent = fits ? frame.name : frame.name.slice(0, letters - 1) + "\u2026";
  }

  function lay() {
    const scale = 100 / (zoomed.end - zoomed.x);
    for (const frame of frames) {
      const inside = frame.y <= zoomed.y && frame.x >= zoomed.x - slack && frame.end <= zoomed.end + slack;
      const around = frame.y > zoomed.y && frame.x <= zoomed.x + slack && frame.end >= zoomed.end - slack;
      frame.element.style.display = inside || around ? "" : "none";
      frame.element.classList.toggle("hakflame-around", around);
      if (!inside && !around) continue;
      frame.shownWidth = around ? 100 : (frame.end - frame.x) * scale;
      frame.element.setAttribute("x", around ? "0%" : (frame.x - zoomed.x) * scale + "%");
      frame.element.setAttribute("width", frame.shownWidth + "%");
      label(frame);
    }
    reset.disabled = zoomed === root;
  }

  function zoom(frame) {
    zoomed = frame;
    lay();
  }

  function look() {
    const wanted = search.value.trim().toLowerCase();
    let end = 0;
    let share = 0;
    const hits = [];
    for (const frame of frames) {
      const hit = wanted !== "" && frame.name.toLowerCase().includes(wanted);
      frame.element.classList.toggle("hakflame-found", hit);
      frame.element.classList.toggle("hakflame-missed", wanted !== "" && !hit);
      if (hit) hits.push(frame);
    }
    hits.sort((a, b) => a.x - b.x || b.end - a.end);
    for (const hit of hits) { // what lies over another hit counts once
      share += Math.max(0, hit.end - Math.max(end, hit.x));
      end = Math.max(end, hit.end);
    }
    found.textContent = wanted === "" ? "" : hits.length ? share.toFixed(1) + "% found" : "nothing found";
  }

  function frameOf(event) {
    const element = event.target instanceof Element ? event.target.closest(".hakflame-frame") : null;
    return element ? byElement.get(element) : undefined;
  }

  picture.addEventListener("click", (event) => {
    const frame = frameOf(event);
    if (!frame) return;
    detail.textContent = frame.told.replace(/\n/g, "  ");
    zoom(frame);
  });
  picture.addEventListener("mouseover", (event) => {
    const frame = frameOf(event);
    detail.textContent = frame ? frame.told.replace(/\n/g, "  ") : idle;
  });
  picture.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    search.value = "";
    look();
    zoom(root);
  });
  reset.addEventListener("click", () => zoom(root));
  search.addEventListener("input", look);
  if (window.ResizeObserver) new ResizeObserver(() => lay()).observe(picture);
  else window.addEventListener("resize", lay);
  lay();
})();
