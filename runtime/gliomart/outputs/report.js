"use strict";
(() => {
  // One list per series, in anatomical order: the pictures of each slice, or null.
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const viewer = document.getElementById("viewer");
  if (!viewer) return;
  document.documentElement.classList.add("scripted");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const sections = all("section.series");
  const panels = viewer.querySelector(".panels");
  const help = document.getElementById("help");
  const current = { series: 0, number: 1 };

  const image = (type, content, classes) => {
    const picture = new Image();
    picture.src = `data:image/${type};base64,${content}`;
    picture.className = classes;
    picture.alt = "";
    return picture;
  };

  const outlines = (picture) => {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("class", "outline");
    svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const draw = (style, line) => {
      const path = document.createElementNS(space, "path");
      path.setAttribute("class", style);
      path.setAttribute("d", line);
      svg.append(path);
    };
    draw("regions", picture.regions);
    for (const line of Object.values(picture.structures)) {
      draw("halo", line);
      draw("structure", line);
    }
    return svg;
  };

  const layers = {
    source: (picture) => [image("jpeg", picture.source, "grey")],
    reconstruction: (picture) =>
      picture.reconstruction ? [image("jpeg", picture.reconstruction, "grey")] : [],
    map: (picture) => [image("png", picture.anomaly_map, "heat"), outlines(picture)],
    overlay: (picture) => [
      image("jpeg", picture.source, "grey"),
      image("png", picture.anomaly_map, "heat over"),
      outlines(picture),
    ],
  };

  const edges = (picture) => picture.edges.map((name) => {
    const edge = document.createElement("span");
    edge.className = "edge";
    edge.textContent = name;
    return edge;
  });

  // The list of slices.

  const list = () => sections[current.series].querySelector(".slices");
  const items = () => [...list().children];
  const byNumber = (series, number) =>
    sections[series].querySelector(`.slices [data-number="${number}"]`);

  const sort = (order) => {
    const key = order === "flagged" ? "rank" : "number";
    list().append(...items().sort((a, b) => a.dataset[key] - b.dataset[key]));
    sections[current.series].querySelector(".order").value = order;
    show(current.series, current.number);
  };

  const draw = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      draw.unobserve(target);
      const series = Number(target.closest(".series").dataset.series);
      const picture = pictures[series][target.dataset.number - 1];
      if (!picture) continue;
      const thumbnail = target.querySelector(".thumbnail");
      thumbnail.style.setProperty("--aspect", picture.aspect);
      thumbnail.append(...layers.overlay(picture));
    }
  }, { rootMargin: "400px" });

  // The viewer.

  const show = (series, number) => {
    const section = sections[series];
    for (const each of all(".current")) each.classList.remove("current");
    for (const each of all(".slices [aria-selected=true]")) {
      each.setAttribute("aria-selected", "false");
      each.tabIndex = -1;
    }
    const hadFocus = document.activeElement.closest(".slices") !== null;
    Object.assign(current, { series, number });
    section.classList.add("current");
    const seat = section.querySelector(".seat");
    if (viewer.parentElement !== seat) seat.append(viewer);
    for (const choice of all(".choose")) {
      choice.setAttribute("aria-current", String(Number(choice.dataset.series) === series));
    }
    const item = byNumber(series, number);
    item.setAttribute("aria-selected", "true");
    item.tabIndex = 0;
    // Within the list alone, so that the page stays where it is; the list may end below the window.
    const frame = list();
    const below = item.offsetTop - frame.scrollTop;
    const third = frame.clientHeight / 3;
    if (below < 0 || below > 2 * third - item.offsetHeight) frame.scrollTop += below - third;
    if (hadFocus) item.focus({ preventScroll: true });
    const article = section.querySelector(`.slice[data-number="${number}"]`);
    article.classList.add("current");
    document.getElementById("announcement").textContent = article.querySelector("h4").textContent;

    const picture = pictures[series][number - 1];
    viewer.querySelector(".missing").hidden = picture !== null;
    panels.hidden = picture === null;
    if (picture) {
      panels.style.setProperty("--aspect", picture.aspect);
      for (const figure of all("figure[data-kind]", panels)) {
        const nodes = [...layers[figure.dataset.kind](picture), ...edges(picture)];
        const title = figure.querySelector("figcaption").textContent;
        nodes[0].alt = `${title} of slice ${number}`;
        figure.querySelector(".picture").replaceChildren(...nodes);
      }
    }

    const plot = section.querySelector(".plot");
    const [left, width] = [46, 944];
    const x = left + (width * (number - 0.5)) / pictures[series].length;
    const position = plot.querySelector(".position");
    position.setAttribute("d", `M${x},6V110`);
    position.style.visibility = "visible";
  };

  const clamped = (value, most) => Math.min(Math.max(value, 0), most);
  const step = (by) => {
    const count = pictures[current.series].length;
    show(current.series, 1 + clamped(current.number - 1 + by, count - 1));
  };
  const stepInList = (by) => {
    const all = items();
    const at = all.indexOf(byNumber(current.series, current.number));
    show(current.series, Number(all[clamped(at + by, all.length - 1)].dataset.number));
  };
  const flagged = (by) => {
    const numbers = items().filter((item) => "flagged" in item.dataset)
      .map((item) => Number(item.dataset.number)).sort((a, b) => by * (a - b));
    const next = numbers.find((number) => by * (number - current.number) > 0);
    if (next) show(current.series, next);
  };
  const open = (series) => {
    if (!sections[series]) return;
    show(series, Number(sections[series].dataset.mostAnomalous));
    sort(sections[series].querySelector(".order").value);
  };

  const press = (id) => {
    const pressed = viewer.classList.toggle(`no-${id === "overlay" ? "overlay" : "outlines"}`);
    document.getElementById(id).setAttribute("aria-pressed", String(!pressed));
  };
  const apply = (slider) => {
    slider.nextElementSibling.value = `${slider.value} %`;
    document.documentElement.style.setProperty(`--${slider.id}`, slider.value / 100);
  };
  const sliders = all("input[type=range]", viewer);
  const move = (id, by) => {
    const slider = document.getElementById(id);
    slider.valueAsNumber += by;
    apply(slider);
  };
  const enlarge = (kind) => {
    if (panels.dataset.only === kind) delete panels.dataset.only;
    else panels.dataset.only = kind;
    panels.scrollIntoView({ block: "nearest" });
    for (const figure of all("figure[data-kind]", panels)) {
      const only = figure.dataset.kind === panels.dataset.only;
      figure.querySelector(".enlarge").setAttribute("aria-pressed", String(only));
    }
  };
  const reset = () => {
    for (const slider of sliders) {
      slider.value = slider.defaultValue;
      apply(slider);
    }
    if (viewer.classList.contains("no-overlay")) press("overlay");
    if (viewer.classList.contains("no-outlines")) press("outlines");
    if (panels.dataset.only) enlarge(panels.dataset.only);
  };
  const toggleOrder = () => {
    const order = sections[current.series].querySelector(".order").value;
    sort(order === "flagged" ? "anatomical" : "flagged");
  };
  const toggleHelp = () => (help.open ? help.close() : help.showModal());

  const keys = {
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    ArrowDown: () => stepInList(1),
    ArrowUp: () => stepInList(-1),
    Home: () => stepInList(-Infinity),
    End: () => stepInList(Infinity),
    n: () => flagged(1),
    p: () => flagged(-1),
    a: toggleOrder,
    o: () => press("overlay"),
    l: () => press("outlines"),
    "+": () => move("opacity", 10),
    "-": () => move("opacity", -10),
    b: () => move("brightness", 10),
    B: () => move("brightness", -10),
    c: () => move("contrast", 10),
    C: () => move("contrast", -10),
    1: () => enlarge("source"),
    2: () => enlarge("overlay"),
    3: () => enlarge("reconstruction"),
    4: () => enlarge("map"),
    0: reset,
    "[": () => open(current.series - 1),
    "]": () => open(current.series + 1),
    "?": toggleHelp,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (help.open && event.key !== "?") return;
    const own = event.target.matches("input, select");  // these have arrow keys and letters of their own
    if (own && (event.target.matches("select") || event.key.length > 1)) return;
    const action = Object.hasOwn(keys, event.key) && keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  for (const section of sections) {
    const series = Number(section.dataset.series);
    for (const item of all(".slices li", section)) draw.observe(item);
    section.querySelector(".slices").addEventListener("click", (event) => {
      const item = event.target.closest("li");
      if (item) show(series, Number(item.dataset.number));
    });
    section.querySelector(".order").addEventListener("change", (event) => sort(event.target.value));
    section.querySelector(".plot").addEventListener("click", (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const across = (((event.clientX - box.left) / box.width) * 1000 - 46) / 944;
      const count = pictures[series].length;
      show(series, 1 + clamped(Math.floor(across * count), count - 1));
    });
    // What is printed: every flagged slice, and what was found in it.
    for (const article of all(".slice.flagged", section)) {
      const picture = pictures[series][article.dataset.number - 1];
      if (!picture) continue;
      for (const kind of ["source", "overlay"]) {
        const figure = document.createElement("div");
        figure.className = "picture";
        figure.style.setProperty("--aspect", picture.aspect);
        figure.append(...layers[kind](picture), ...edges(picture));
        article.querySelector(".figures").append(figure);
      }
    }
  }
  for (const choice of all(".choose")) {
    choice.addEventListener("click", () => open(Number(choice.dataset.series)));
  }
  for (const slider of sliders) slider.addEventListener("input", () => apply(slider));
  for (const button of all(".enlarge")) {
    const { kind } = button.closest("figure").dataset;
    button.addEventListener("click", () => enlarge(kind));
  }
  const clicks = { overlay: () => press("overlay"), outlines: () => press("outlines"), reset, keys: toggleHelp, close: toggleHelp };
  for (const [id, action] of Object.entries(clicks)) document.getElementById(id).addEventListener("click", action);
  panels.addEventListener("wheel", (event) => {
    event.preventDefault();
    step(Math.sign(event.deltaY));
  }, { passive: false });

  open(0);
})();
