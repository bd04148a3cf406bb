// The explorer: draws what a reader chooses. e2m/pages/explorer.py writes the data, as a script: a browser also loads
// scripts from file://, but neither JSON nor modules. What is shown is named in the page's address, after "#".
(() => {
  "use strict";

  const HOME = new URL(".", document.currentScript.src);
  const STAGE = document.getElementById("e2m-explorer");
  const OVERLAY = 0.55; // share of colour, as in e2m.pages.figures.overlay
  if (!STAGE) {
    return;
  }

  // Small helpers

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in element && name !== "style") {
        element[name] = value;
      } else {
        element.setAttribute(name, value);
      }
    }
    element.append(...children);
    return element;
  }

  const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const decimals = (value) => (value === null ? "–" : value.toFixed(2));
  const unique = (values) => [...new Set(values)];

  // Pictures

  // Pillow's bicubic filter: for each pixel of the target, the first cell that it reads and the weights from it on.
  function bicubic(source, target) {
    const cubic = (x) =>
      x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    return Array.from({ length: target }, (_, at) => {
      const centre = ((at + 0.5) * source) / target;
      const first = Math.max(0, Math.floor(centre - 1.5));
      const length = Math.min(source, Math.floor(centre + 2.5)) - first;
      const weights = Array.from({ length }, (_, n) => cubic(Math.abs(first + n + 0.5 - centre)));
      const sum = weights.reduce((one, other) => one + other);
      return { first, weights: weights.map((weight) => weight / sum) };
    });
  }

  // A map of cells enlarged to a square of pixels, as e2m.arrays.maps.upsample does: first its rows, then its columns.
  function enlarge(map, [height, width], side) {
    const wide = new Uint8ClampedArray(height * side); // rounds and clips
    const large = new Uint8ClampedArray(side * side);
    const read = (values, start, step, weights) =>
      weights.reduce((sum, weight, n) => sum + weight * values[start + n * step], 0);
    bicubic(width, side).forEach(({ first, weights }, x) => {
      for (let row = 0; row < height; row++) {
        wide[row * side + x] = read(map, row * width + first, 1, weights);
      }
    });
    bicubic(height, side).forEach(({ first, weights }, y) => {
      for (let x = 0; x < side; x++) {
        large[y * side + x] = read(wide, first * side + x, side, weights);
      }
    });
    return large;
  }

  function blank(side) {
    const canvas = make("canvas", { width: side, height: side });
    return canvas.getContext("2d", { willReadFrequently: true });
  }

  function tile(data, image, sheet, index) {
    const context = blank(image.side);
    const left = (index % data.columns) * image.side;
    const top = Math.floor(index / data.columns) * image.side;
    context.drawImage(sheet, left, top, image.side, image.side, 0, 0, image.side, image.side);
    return context;
  }

  // Colours of an enlarged map; over a picture, its grey shines through; a dead map (null) leaves the grey alone.
  function coloured(colours, large, side, picture = null) {
    const context = blank(side);
    const pixels = picture ? picture.getImageData(0, 0, side, side) : context.createImageData(side, side);
    for (let n = 0; n < side * side; n++) {
      const grey = (pixels.data[4 * n] + pixels.data[4 * n + 1] + pixels.data[4 * n + 2]) / 3;
      for (let channel = 0; channel < 3; channel++) {
        const colour = large ? colours[3 * large[n] + channel] : 0;
        const share = !large ? 0 : picture ? OVERLAY : 1;
        pixels.data[4 * n + channel] = (1 - share) * grey + share * colour;
      }
      pixels.data[4 * n + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    return context;
  }

  // A map's picture moved back onto the clean image; where nothing is known, stripes.
  function movedBack(context, undo, side) {
    const moved = blank(side);
    moved.fillStyle = "#808080";
    moved.fillRect(0, 0, side, side);
    moved.strokeStyle = "#b0b0b0";
    for (let at = -side; at < side; at += 6) {
      moved.beginPath();
      moved.moveTo(at, side);
      moved.lineTo(at + side, 0);
      moved.stroke();
    }
    moved.setTransform(...undo);
    moved.drawImage(context.canvas, 0, 0);
    return moved;
  }

  function put(canvas, context, description) {
    canvas.width = context.canvas.width;
    canvas.height = context.canvas.height;
    canvas.getContext("2d").drawImage(context.canvas, 0, 0);
    canvas.setAttribute("aria-label", description);
  }

  // Controls

  // A group of radio buttons. Options of the same values keep their buttons, and with them the focus.
  function choice(title, name, options, choose) {
    const legend = make("legend", {}, title);
    const box = make("div", { className: "explorer-options" });
    const group = make("fieldset", { className: `explorer-choice explorer-${name}` }, legend, box);
    const inputs = new Map();
    const add = (value) => {
      const input = make("input", { type: "radio", name: `explorer-${name}`, value });
      input.addEventListener("change", () => choose(value));
      inputs.set(value, input);
      return make("label", {}, input);
    };
    const show = (entries) => {
      if (JSON.stringify(entries.map(({ value }) => value)) !== JSON.stringify([...inputs.keys()])) {
        inputs.clear();
        box.replaceChildren(...entries.map(({ value }) => add(value)));
      }
      for (const { value, content } of entries) {
        const input = inputs.get(value);
        while (input.nextSibling) {
          input.nextSibling.remove();
        }
        input.after(...content);
      }
    };
    show(options);
    return {
      group,
      legend,
      box,
      show,
      mark: (value) => inputs.has(value) && (inputs.get(value).checked = true),
    };
  }

  function menu(title, choose) {
    const select = make("select");
    select.addEventListener("change", () => choose(select.value));
    const show = (options, value) => {
      select.replaceChildren(...options.map(([name, text]) => make("option", { value: name }, text)));
      select.value = value;
    };
    return { label: make("label", {}, make("span", { className: "explorer-hidden" }, title), select), show };
  }

  function figure(caption) {
    const canvas = make("canvas", { role: "img", width: 1, height: 1, "aria-label": caption });
    const text = make("figcaption", {}, caption);
    return { canvas, text, root: make("figure", {}, canvas, text) };
  }

  // What is shown, from the page's address; what the address does not name, or names wrongly, stays as it was.
  function stateFrom(address, data, before) {
    const wanted = new URLSearchParams(address.replace(/^#/, ""));
    const state = { ...before };
    const wrong = [];
    const take = (name, known, set) => {
      const value = wanted.get(name);
      if (value !== null && known(value)) {
        set(value);
      } else if (value !== null) {
        wrong.push(`${name}=${value}`);
      }
    };
    const named = (list) => (value) => list.some((one) => one.name === value);
    take("image", named(data.images), (value) => (state.image = value));
    take("method", named(data.methods), (value) => (state.method = value));
    take("measure", named(data.measures), (value) => (state.measure = value));
    const ofMeasure = data.changes.filter((change) => change.measure === state.measure);
    if (!ofMeasure.some((change) => change.region === state.region)) {
      state.region = ofMeasure[0].region;
    }
    take(
      "region",
      (value) => ofMeasure.some((change) => change.region === value),
      (value) => (state.region = value),
    );
    const levels = data.changes.filter((change, index) => index === 0 || inGroup(change, state));
    if (!levels.some((change) => change.level === state.level)) {
      state.level = (levels.find((change) => change.first) || levels[1]).level;
    }
    take(
      "level",
      (value) => levels.some((change) => change.level === value),
      (value) => (state.level = value),
    );
    for (const side of ["a", "b"]) {
      take(
        side,
        (value) => detectorsOf(data).includes(value),
        (value) => (state[side] = value),
      );
    }
    return { state, wrong };
  }

  const inGroup = (change, state) => change.measure === state.measure && change.region === state.region;

  function detectorsOf(data) {
    return data.regimes.flatMap(({ name, runs }) =>
      Array.from({ length: runs }, (_, run) => `${name}.${run}`),
    );
  }

  function addressOf(state) {
    return `#${new URLSearchParams(state)}`;
  }

  // One detector: its menus, pictures, score and similarity

  function panel(side, mark, data, choose) {
    const colours = bytes(data.colours);
    const regime = menu("Regime", (name) => {
      const run = Math.min(current.run, byName(data.regimes, name).runs - 1);
      choose(`${name}.${run}`);
    });
    const run = menu("Run", (number) => choose(`${current.regime.name}.${number}`));
    const pictures = Object.fromEntries(
      ["image", "overlay", "clean map", "map now"].map((caption) => [caption, figure(caption)]),
    );
    const frames = make(
      "div",
      { className: "explorer-pictures" },
      ...Object.values(pictures).map(({ root }) => root),
    );
    const answer = make("p", { className: "explorer-answer" });
    const markers = { clean: make("i", { className: "clean" }), now: make("i", { className: "now" }) };
    const meter = make(
      "div",
      { className: "explorer-meter", "aria-hidden": "true" },
      markers.clean,
      markers.now,
    );
    const similar = make("p", { className: "explorer-similarity" });
    const missing = make("p", { className: "explorer-missing", hidden: true });
    const root = make(
      "section",
      { className: `explorer-detector explorer-${side}`, "aria-label": `Detector ${mark}` },
      make(
        "div",
        { className: "explorer-head" },
        make("i", { className: `explorer-mark ${side}` }),
        regime.label,
        run.label,
      ),
      missing,
      frames,
      answer,
      meter,
      similar,
    );
    let current = null;

    function update(view, detector) {
      current = detector;
      root.style.setProperty("--regime", detector.regime.colour);
      regime.show(
        data.regimes.map(({ name, label }) => [name, label]),
        detector.regime.name,
      );
      run.show(
        Array.from({ length: detector.regime.runs }, (_, n) => [String(n), `run ${n}`]),
        String(detector.run),
      );
      const slot = view.image.slots[`${detector.name}.${view.method.name}`];
      for (const element of [frames, answer, meter, similar]) {
        element.hidden = !slot;
      }
      missing.hidden = Boolean(slot);
      if (!slot) {
        missing.textContent =
          `${detector.label} has no ${view.method.label} results on images of ${view.image.source}. ` +
          "Choose another image, method or run.";
        return missing.textContent;
      }
      draw(view, slot);
      return tell(view, slot, detector.label);
    }

    function draw(view, slot) {
      const { image, change } = view;
      const guided = data.changes.filter((one) => one.guided);
      const shared = data.changes.filter((one) => !one.guided);
      const row = Object.keys(image.slots).indexOf(`${current.name}.${view.method.name}`);
      const index = change.guided
        ? shared.length + row * guided.length + guided.indexOf(change)
        : shared.indexOf(change);
      const picture = tile(data, image, view.sheet, index);
      const maps = [0, data.changes.indexOf(change)].map((number) => largeMap(slot, number, image.side));
      const [clean, now] = maps.map((large) => coloured(colours, large, image.side));
      const who = `${current.label}, ${view.method.label}`;
      put(pictures["image"].canvas, picture, `${image.name}, ${view.changed}`);
      put(
        pictures["overlay"].canvas,
        coloured(colours, maps[1], image.side, picture),
        `Salience of ${who}, over the image`,
      );
      put(pictures["clean map"].canvas, clean, `Map of ${who}, image unchanged`);
      const back = change.undo && maps[1];
      put(
        pictures["map now"].canvas,
        back ? movedBack(now, change.undo, image.side) : now,
        `Map of ${who}, ${view.changed}`,
      );
      pictures["map now"].text.textContent = !maps[1]
        ? "no map (constant)"
        : back
          ? "map now, moved back"
          : "map now";
      pictures["clean map"].text.textContent = maps[0] ? "clean map" : "no map (constant)";
    }

    function tell(view, slot, label) {
      const number = data.changes.indexOf(view.change);
      const [clean, now] = [slot.scores[0], slot.scores[number]];
      const same = number === 0;
      const said = (score) => data.labels[Number(score > 0.5)];
      const right = said(now) === view.image.label;
      const score = same ? decimals(clean) : `${decimals(clean)} → ${decimals(now)}`;
      const words = now === null ? "no answer" : `says ${said(now)}, ${right ? "right" : "wrong"}`;
      answer.replaceChildren(
        "P(synthetic) ",
        make("strong", {}, score),
        make("span", { className: now === null ? "" : right ? "right" : "wrong" }, words),
      );
      for (const [name, value] of Object.entries({ clean, now })) {
        markers[name].hidden = value === null;
        markers[name].style.left = `${100 * (value || 0)}%`;
      }
      const value = slot.dead.includes(0) ? null : same ? 1 : slot.similarities[number];
      const kept = value === null ? "a map is constant" : same ? "the clean map itself" : "";
      similar.replaceChildren(
        `${view.measure.similarity} `,
        make("strong", {}, decimals(value)),
        kept && make("span", {}, kept),
      );
      return `${label}: P(synthetic) ${score}, ${words}. ${view.measure.similarity}: ${decimals(value)}.`;
    }

    return { root, update };
  }

  function largeMap(slot, number, side) {
    if (slot.dead.includes(number)) {
      return null;
    }
    slot.decoded ||= bytes(slot.maps);
    const size = slot.cells[0] * slot.cells[1];
    return enlarge(slot.decoded.subarray(number * size, (number + 1) * size), slot.cells, side);
  }

  const byName = (list, name) => list.find((one) => one.name === name);

  // The levels of a measure: columns to choose from, with the similarity and the score of both detectors in each

  function levelsChart(data, choose) {
    const group = choice("", "levels", [], choose);

    function update(view) {
      const { detectors } = view;
      const changes = data.changes.filter((change, index) => index === 0 || inGroup(change, view.state));
      const slots = detectors.map(({ name }) => view.image.slots[`${name}.${view.method.name}`]);
      const numbers = changes.map((change) => data.changes.indexOf(change));
      const of = (list, index) => (index === 0 ? 1 : list[index]);
      const similar = slots.map((slot) =>
        numbers.map((index) => (slot ? of(slot.similarities, index) : null)),
      );
      const scores = slots.map((slot) => numbers.map((index) => (slot ? slot.scores[index] : null)));
      const means = detectors.map(({ regime }) => {
        const row = data.means[`${view.image.source} ${regime.name} ${view.method.name}`];
        return numbers.map((index) => (row && index ? row[index] : null));
      });
      const lowest = Math.min(0, ...similar.flat(), ...means.flat());
      const ends = [Math.floor(lowest * 4) / 4, 1];
      const joined = changes.slice(1).every((change) => change.number);
      group.legend.textContent = view.measure.level ? `Level: ${view.measure.level}` : "Level";
      group.show(
        changes.map((change, column) => ({
          value: change.level,
          content: [
            cell(ends, detectors, similar, column, means),
            cell([0, 1], detectors, scores, column),
            make("span", { className: joined ? "" : "explorer-upright" }, change.label),
          ],
        })),
      );
      group.box.querySelectorAll(":scope > :not(label)").forEach((drawn) => drawn.remove());
      const rows = [
        [ends, similar, view.measure.similarity],
        [[0, 1], scores, "P(synthetic)"],
      ];
      rows.forEach(([range, series, title], row) => {
        group.box.append(axis(range, title, row), ...(joined ? [lines(range, series, detectors, row)] : []));
      });
    }

    const height = (value, [low, high]) => 100 * (1 - (value - low) / (high - low));

    function cell(range, detectors, series, column, means = []) {
      const marks = means.map((values, n) => ["explorer-mean", values[column], n]);
      marks.push(...series.map((values, n) => [`explorer-mark ${"ab"[n]}`, values[column], n]));
      const plot = make("span", { className: "explorer-cell" });
      for (const [className, value, n] of marks.filter((one) => one[1] !== null)) {
        plot.append(
          make("i", {
            className,
            style: `top: ${height(value, range)}%; --regime: ${detectors[n].regime.colour}`,
          }),
        );
      }
      return plot;
    }

    function axis(range, title, row) {
      const marks = unique([range[0], 0, 0.5, 1]).map((value) =>
        make("i", { style: `top: ${height(value, range)}%` }, String(value)),
      );
      return make(
        "div",
        { className: `explorer-axis explorer-row-${row}`, "aria-hidden": "true" },
        make("b", {}, title),
        ...marks,
      );
    }

    function lines(range, series, detectors, row) {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", "0 0 100 100");
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("class", `explorer-lines explorer-row-${row}`);
      svg.setAttribute("aria-hidden", "true");
      series.forEach((values, n) => {
        const points = values
          .map((value, at) => [(100 * (at + 0.5)) / values.length, value])
          .filter((one) => one[1] !== null);
        const line = document.createElementNS(svg.namespaceURI, "polyline");
        line.setAttribute("points", points.map(([x, value]) => `${x},${height(value, range)}`).join(" "));
        line.setAttribute("stroke", detectors[n].regime.colour);
        line.setAttribute("class", "ab"[n]);
        svg.append(line);
      });
      return svg;
    }

    return { group: group.group, update, mark: group.mark };
  }

  // The whole

  // What a state names: the image with its sheet of pictures, the change, the measure, the method, both detectors.
  function viewOf(data, state, sheet) {
    const image = byName(data.images, state.image);
    const measure = byName(data.measures, state.measure);
    const [clean, ...others] = data.changes;
    const chosen = others.find((one) => inGroup(one, state) && one.level === state.level) || clean;
    const words = [measure.name, chosen.region, chosen.label].filter(Boolean).join(" ");
    const detectors = [state.a, state.b].map((name) => {
      const [regime, run] = name.split(".");
      const about = byName(data.regimes, regime);
      return { name, regime: about, run: Number(run), label: `${about.label}, run ${run}` };
    });
    const method = byName(data.methods, state.method);
    return {
      state,
      image,
      measure,
      method,
      sheet,
      detectors,
      change: chosen,
      changed: chosen === clean ? "unchanged" : words,
    };
  }

  // The first state: the level that a measure's headlines show, in its first region.
  function atHeadline(data, measure) {
    const ofMeasure = data.changes.filter((change) => change.measure === measure);
    const { region, level } = ofMeasure.find((change) => change.first) || ofMeasure[0];
    return { measure, region, level };
  }

  function firstState(data) {
    const [a, b] = data.start;
    const measure = data.measures[0].name;
    return { image: data.images[0].name, method: data.methods[0].name, ...atHeadline(data, measure), a, b };
  }

  function controlsOf(data, set) {
    const named = (list) =>
      list.map(({ name, label, title }) => ({ value: name, content: [make("span", {}, label || title)] }));
    const thumbs = data.images.map((image, n) => ({ value: image.name, content: thumbnail(data, image, n) }));
    return {
      image: choice("Image", "images", thumbs, (image) => set({ image })),
      measure: choice("Change", "measures", named(data.measures), (measure) =>
        set(atHeadline(data, measure)),
      ),
      region: choice("Changed region", "regions", [], (region) => set({ region })),
      method: choice("Salience method", "methods", named(data.methods), (method) => set({ method })),
      level: levelsChart(data, (level) => set({ level })),
    };
  }

  function explorer(data) {
    let { state, wrong } = stateFrom(location.hash, data, firstState(data));
    let sheet = { name: "", picture: null };
    let latest = 0;
    const set = (changes) => {
      ({ state } = stateFrom(addressOf({ ...state, ...changes }), data, state));
      wrong = [];
      history.replaceState(null, "", addressOf(state));
      update();
    };
    const controls = controlsOf(data, set);
    const panels = ["a", "b"].map((side, n) => panel(side, n + 1, data, (name) => set({ [side]: name })));
    const texts = textsOf(data);

    async function update() {
      const turn = ++latest;
      if (sheet.name !== state.image) {
        const picture = new Image();
        picture.src = byName(data.images, state.image).sheet;
        await picture.decode();
        if (turn !== latest) {
          return;
        }
        sheet = { name: state.image, picture };
      }
      const view = viewOf(data, state, sheet.picture);
      const ofMeasure = data.changes.filter((change) => change.measure === state.measure);
      const regions = unique(ofMeasure.map((change) => change.region));
      controls.region.show(regions.map((region) => ({ value: region, content: [make("span", {}, region)] })));
      controls.region.group.hidden = regions.length < 2;
      controls.level.update(view);
      Object.entries(controls).forEach(([name, control]) => control.mark(state[name]));
      const said = panels.map((one, n) => one.update(view, view.detectors[n]));
      texts.update(view, wrong, said);
      STAGE.dataset.shown = addressOf(state);
    }

    STAGE.replaceChildren(...layout(data, controls, panels, texts));
    addEventListener("hashchange", () => {
      ({ state, wrong } = stateFrom(location.hash, data, state));
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      controls.level.group.scrollIntoView({ behavior: still ? "auto" : "smooth" });
      update();
    });
    return update();
  }

  // About the image and the measure; what changed, for those who hear it; what an address names in vain.
  function textsOf(data) {
    const colours = bytes(data.colours);
    const facts = make("p", { className: "explorer-facts" });
    const human = figure(data.human);
    const status = make("p", { className: "explorer-hidden", role: "status" });
    const warning = make("p", { className: "explorer-warning", hidden: true });
    const question = make("p", { className: "explorer-question" });
    let timer = 0;

    function update({ image, measure, changed, sheet }, wrong, said) {
      question.textContent = measure.question;
      warning.hidden = wrong.length === 0;
      warning.textContent = `The address names what is not here: ${wrong.join(", ")}.`;
      facts.replaceChildren(make("strong", {}, image.label), ` image ${image.name}`);
      human.root.hidden = image.human === null;
      if (image.human !== null) {
        const large = enlarge(bytes(image.human), [data.human_cells, data.human_cells], image.side);
        const clean = tile(data, image, sheet, 0);
        put(human.canvas, coloured(colours, large, image.side, clean), `${data.human}, over the image`);
      }
      clearTimeout(timer); // one announcement, after the last of several quick changes
      timer = setTimeout(() => (status.textContent = [`${image.name}, ${changed}.`, ...said].join(" ")), 300);
    }

    return { facts, human, status, warning, question, update };
  }

  function layout(data, controls, panels, { facts, human, status, warning, question }) {
    const part = (name, ...children) => make("div", { className: `explorer-${name}` }, ...children);
    const mark = (name) => make("i", { className: `explorer-${name}` });
    const mean = " mean of the regime over all its runs and all measured images of the source";
    const cases = data.cases.map(({ state, text }) =>
      make("li", {}, make("a", { href: addressOf(state) }, text)),
    );
    return [
      warning,
      part("top", controls.image.group, part("about", human.root, facts)),
      part("controls", controls.measure.group, controls.region.group, controls.method.group),
      question,
      controls.level.group,
      part("legend", mark("mark a"), " left  ", mark("mark b"), " right  ", mark("mean"), mean),
      part("panels", ...panels.map(({ root }) => root)),
      part("scale", "least salient 0 ", colourBar(bytes(data.colours)), " 1 most salient, in each map"),
      ...(cases.length
        ? [make("p", {}, "Worth a look:"), make("ul", { className: "explorer-cases" }, ...cases)]
        : []),
      status,
    ];
  }

  function colourBar(colours) {
    const bar = make("canvas", {
      width: 256,
      height: 1,
      role: "img",
      "aria-label": "Colour scale of the maps",
    });
    const pixels = new ImageData(256, 1);
    pixels.data.forEach((_, n) => (pixels.data[n] = n % 4 === 3 ? 255 : colours[3 * (n >> 2) + (n % 4)]));
    bar.getContext("2d").putImageData(pixels, 0, 0);
    return bar;
  }

  function thumbnail(data, image, number) {
    const canvas = make("canvas", { role: "img", width: 1, height: 1, "aria-label": image.name });
    data.thumbnails ||= new Promise((resolve) => {
      const picture = new Image();
      picture.onload = () => resolve(picture);
      picture.src = data.thumbs;
    });
    data.thumbnails.then((picture) => put(canvas, tile(data, image, picture, number), image.name));
    return [canvas, make("span", {}, image.source)];
  }

  // Loading

  function load(button) {
    const focused = document.activeElement === button;
    const script = make("script", { src: new URL(STAGE.dataset.script, HOME).href });
    button.disabled = true;
    button.textContent = "Loading …";
    script.addEventListener("error", () => {
      button.disabled = false;
      button.textContent = "Not loaded: try again";
    });
    window.e2mExplorer = (data) => {
      explorer(data);
      document.querySelectorAll(".tag_still").forEach((still) => still.remove());
      if (focused) {
        STAGE.querySelector("input").focus();
      }
    };
    document.head.append(script);
  }

  document.head.append(make("link", { rel: "stylesheet", href: new URL("explorer.css", HOME).href }));
  const button = STAGE.querySelector(".explorer-load");
  button.hidden = false;
  button.addEventListener("click", () => load(button));
  const open = () => {
    if (button.isConnected && !button.disabled && new URLSearchParams(location.hash.slice(1)).has("image")) {
      load(button);
    }
  };
  addEventListener("hashchange", open);
  open();
})();
