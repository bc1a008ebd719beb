// Draws a report from its payload. Every text of a trial is set as text, never as markup; nothing is loaded from anywhere.
"use strict";
const teamReport = (() => {
  const OUTCOMES = { kept: "★", discarded: "●", "near-miss": "◆", replicate: "■", crashed: "✕", rejected: "▼", "set-aside": "✶" };
  const state = { payload: null, details: {}, rows: new Map(), children: new Map(), selected: null, plots: [], x: "trials", colour: "outcome", crowding: false, asked: 0 };
  const ZOOMED = { scrollZoom: true, displayModeBar: true };
  const byId = (id) => document.getElementById(id);

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "class") node.className = value;
      else if (name === "color") node.style.background = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  }
  const number = (value, digits = 4) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const signed = (value) => (value === null || value === undefined ? "–" : (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(4));
  const several = (n, one, more) => `${n.toLocaleString("en")} ${n === 1 ? one : more}`;

  // ---- figures
  // Text and lines of a figure take their colours from the style sheet, so that light and dark need no drawing again.
  function placed(layout, name) {
    const full = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: name, autosize: true,
      font: { family: "system-ui, sans-serif", size: 13 }, margin: { l: 60, r: 14, t: 34, b: 48, ...layout.margin },
      legend: { orientation: "h", x: 0, y: 1.03, yanchor: "bottom", traceorder: "normal", font: { size: 12 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "#858b96", activecolor: "#3d86cc" },
      hoverlabel: { bgcolor: "#1b1f24", bordercolor: "#858b96", font: { color: "#ffffff" } } };
    for (const key of Object.keys(layout)) if (/^[xy]axis\d*$/.test(key)) full[key] = { ...layout[key], title: layout[key].title ? { font: { size: 12 }, ...layout[key].title } : undefined };
    return full;
  }
  function draw(node, name, figure, config = {}) {
    const known = state.plots.find((plot) => plot.node === node);
    if (known) known.figure = figure;
    else state.plots.push({ node, name, figure });
    return Plotly.react(node, figure.data.map((trace) => ({ ...trace })), placed(figure.layout, name), { displaylogo: false, responsive: true,
      displayModeBar: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "sendChartToCloud", "sendDataToCloud"], ...config });
  }
  function plot(panel, index, figure, label, config, after) {
    const id = `figure-${panel}-${index}`;
    const node = byId(id) || make("div", { id, class: "figure", role: "img", "aria-label": label });
    queueMicrotask(() => draw(node, `${panel}-${index}`, figure, config).then(after));
    return node;
  }
  // ---- the header
  function card(label, value, ...notes) {
    return make("div", { class: "card" }, make("dt", {}, label), make("dd", {}, value, ...notes.filter(Boolean).map((note) => make("small", {}, note))));
  }
  function drawHeader({ header: h, title, name, made_at }) {
    const unit = h.unit ? ` ${h.unit}` : "";
    const cards = [];
    if (h.champion_score !== null) {
      const trainings = h.champion_trainings > 1 ? `, mean of ${h.champion_trainings} trainings` : "";
      cards.push(card(`champion, ${h.metric}`, `${number(h.champion_score)}${unit}`, `[${number(h.champion_low)}, ${number(h.champion_high)}]${trainings}`, `trial ${h.champion}: ${h.champion_title}`));
      cards.push(card(`seed, ${h.metric}`, `${number(h.seed_score)}${unit}`, `always the mean: ${number(h.mean_predictor)}${unit}`));
    } else cards.push(card("champion", "none yet", "no trial has been kept"));
    if (h.gain !== null) cards.push(card("gain over the seed", `${signed(h.gain)}${unit}`, `[${signed(h.gain_low)}, ${signed(h.gain_high)}], ${h.gain_z.toFixed(1)} standard errors`, h.gain_low > 0 ? "beyond noise, on the rows that chose it" : "not beyond noise"));
    else if (h.champion !== null) cards.push(card("gain over the seed", "none", "the seed is still the champion"));
    const outcomes = Object.entries(h.outcomes).map(([outcome, n]) => `${n} ${outcome}`).join(", ");
    const kept = `${several(h.n_keeps, "change", "changes")} kept; noise alone would keep ${h.expected_false_keeps}`;
    cards.push(card("trials", h.trained > h.trials_planned ? `${h.trained}` : `${h.trained} of ${h.trials_planned}`, kept, outcomes));
    const cost = h.hours >= 1 ? `${h.hours.toFixed(1)} hours` : `${(60 * h.hours).toFixed(1)} minutes`;
    cards.push(card("cost", cost, h.tokens ? `${h.tokens.toLocaleString("en")} tokens, ${h.usd.toFixed(2)} USD` : "no model was paid"));
    cards.push(card("judge", h.sealed ? "sealed" : "not sealed", h.sealed ? `seal ${h.seal.slice(0, 12)}` : "some trials were held by too few layers or none (team doctor): do not trust these scores", `${h.n_validation.toLocaleString("en")} search-validation crystals`));
    const toggle = make("button", { type: "button", id: "theme", onclick: switchTheme }, "Light or dark");
    byId("top").replaceChildren(
      make("div", { class: "titles" }, make("div", {}, make("h1", {}, title), make("p", { class: "sub" }, `run ${name}; ${h.provenance}; as of ${made_at.replace("T", " ").replace("+00:00", " UTC")}${h.stopped ? `; ${h.stopped}` : ""}`)), toggle),
      make("dl", { class: "cards" }, ...cards),
      make("p", { class: "honest" }, h.honest));
    byId("foot").replaceChildren(make("p", {}, `Seal ${h.seal}. This file holds labels of search-validation: give it to nobody, and to no model, that searches on this task.`));
    document.title = `${name}: ${title}`;
  }

  // ---- panels
  function choice(legend, name, options, chosen, act) {
    return make("fieldset", {}, make("legend", {}, legend), ...options.map(([value, label]) =>
      make("label", {}, make("input", { type: "radio", name, value, checked: value === chosen, onchange: () => act(value) }), label)));
  }
  function progressPanel(panel) {
    const figure = panel.figures[0], choices = Object.keys(figure.layout.meta.x);
    const node = plot(panel.id, 0, withX(figure, state.x), "Scores over the run", { displayModeBar: true });
    const act = (value) => { state.x = value; draw(node, `${panel.id}-0-${value}`, withX(figure, value), { displayModeBar: true }); };
    return [make("div", { class: "controls" }, choice("over", "x", choices.map((one) => [one, one]), state.x, act)), node];
  }
  function withX(figure, choiceOfX) {
    const x = figure.layout.meta.x[choiceOfX] || figure.layout.meta.x.trials;
    const place = (name) => { const row = state.rows.get(Number(name)); return choiceOfX === "hours" ? row.hours : choiceOfX === "USD" ? row.usd : row.number; };
    return { data: figure.data.map((trace, i) => ({ ...trace, x: x[i] })),
      layout: { ...figure.layout, xaxis: { ...figure.layout.xaxis, title: { text: choiceOfX === "hours" ? "hours of work" : choiceOfX } },
        annotations: figure.layout.annotations.map((one) => ({ ...one, x: place(one.name) })) } };
  }
  function graphPanel(panel) {
    const figure = panel.figures[0];
    const node = plot(panel.id, 0, figure, "Idea graph", ZOOMED, () => { markAxes(); placeRing(); });
    node.setAttribute("tabindex", "0");
    node.setAttribute("role", "application");
    node.setAttribute("aria-label", "Idea graph. Left and right go to the trial before and after, up to the trial that it was edited from, down to the first that was edited from it.");
    if (!node.dataset.ready) {
      node.dataset.ready = "yes";
      node.addEventListener("keydown", onKey);
      const listen = () => {
        if (!node.on) { setTimeout(listen, 20); return; }
        node.on("plotly_click", (event) => { const at = event.points.find((point) => point.customdata !== undefined); if (at) select(at.customdata); });
        node.on("plotly_afterplot", () => { markAxes(); placeRing(); });
        node.on("plotly_relayouting", placeRing);
      };
      setTimeout(listen, 0);
    }
    const controls = make("div", { class: "controls" },
      choice("colour", "colour", [["outcome", "outcome"], ["axis", "axis"]], state.colour, (value) => { state.colour = value; node.dataset.colour = value; }),
      make("label", {}, make("input", { type: "checkbox", id: "crowding-edges", checked: state.crowding, onchange: (event) => { state.crowding = event.target.checked; node.toggleAttribute("data-crowding", state.crowding); } }), "crowding: the ideas that each was nearest to"));
    node.dataset.colour = state.colour;
    node.toggleAttribute("data-crowding", state.crowding);
    const side = byId("side") || make("section", { id: "side", class: "side", "aria-live": "polite", "aria-label": "The chosen trial", tabindex: "0" });
    const holder = make("div", { class: "figure" }, node, byId("ring") || make("div", { id: "ring", class: "ring", "aria-hidden": "true" }));
    return [controls, make("div", { class: "graph" }, holder, side)];
  }
  function markAxes() { // what the style sheet colours by axis
    const node = byId("figure-ideas-0"), traces = node._fullData.filter((trace) => trace.customdata);
    const drawn = [...node.querySelectorAll(".scatterlayer .trace")].filter((group) => group.querySelector(".point"));
    drawn.forEach((group, i) => group.querySelectorAll(".point").forEach((point, k) => { point.dataset.axis = (state.rows.get(traces[i].customdata[k]) || {}).axis; }));
  }
  function onKey(event) {
    const numbers = state.payload.trials.map((row) => row.number);
    const row = state.rows.get(state.selected), at = numbers.indexOf(state.selected);
    const target = { ArrowRight: numbers[Math.min(numbers.length - 1, at + 1)], ArrowLeft: numbers[Math.max(0, at - 1)], ArrowUp: row ? row.parent : null,
      ArrowDown: (state.children.get(state.selected) || [])[0], Home: numbers[0], End: numbers[numbers.length - 1] }[event.key];
    if (!(event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    if (target !== null && target !== undefined) select(target);
  }
  function placeRing() {
    const ring = byId("ring"), node = byId("figure-ideas-0");
    if (!ring || !node || !node._fullLayout || state.selected === null) return;
    for (const trace of node._fullData) {
      const i = trace.customdata ? trace.customdata.indexOf(state.selected) : -1;
      if (i < 0 || trace.y[i] === null) continue;
      const { xaxis, yaxis } = node._fullLayout;
      const x = xaxis.l2p(trace.x[i]), y = yaxis.l2p(trace.y[i]);
      const inside = x >= 0 && y >= 0 && x <= xaxis._length && y <= yaxis._length;
      ring.style.display = inside ? "block" : "none";
      ring.style.left = `${xaxis._offset + x}px`;
      ring.style.top = `${yaxis._offset + y}px`;
      return;
    }
    ring.style.display = "none";
  }
  function facts(pairs) {
    return make("dl", { class: "facts" }, ...pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, value)]));
  }
  function coloured(diff) {
    const kind = (line) => (line.startsWith("+") && !line.startsWith("+++") ? "added" : line.startsWith("-") && !line.startsWith("---") ? "removed" : /^(@@|\+\+\+|---)/.test(line) ? "hunk" : "");
    return make("pre", { tabindex: "0" }, ...diff.split("\n").map((line) => make("span", { class: kind(line) }, line || " ")));
  }
  function goTo(target) { return make("button", { type: "button", onclick: () => select(target) }, `trial ${target}`); }
  function select(target) {
    const row = state.rows.get(target);
    if (!row) return;
    state.selected = target;
    const told = state.details[target] || {}, unit = state.payload.header.unit ? ` ${state.payload.header.unit}` : "";
    const axis = state.payload.axes[row.axis] ? `${row.axis} ${state.payload.axes[row.axis]}` : "";
    const links = (told.links || []).flatMap((link) => [" ", make("a", { href: link.url, rel: "noopener noreferrer", target: "_blank" }, link.text)]);
    const list = (values) => (values && values.length ? values.join(", ") : null);
    const children = (state.children.get(target) || []).slice(0, 8);
    const parts = [
      make("h3", {}, `Trial ${row.number}: ${row.title}`),
      make("p", {}, `${OUTCOMES[row.outcome] || ""} ${row.outcome}${row.is_champion ? ", the champion" : ""}: ${row.reason}`),
      facts([["score", row.score === null ? "none" : `${number(row.score)}${unit} [${number(row.low)}, ${number(row.high)}]`],
        ["gain", row.gain === null ? null : `${signed(row.gain)}${unit} [${signed(row.gain_low)}, ${signed(row.gain_high)}], ${row.z.toFixed(1)} standard errors`],
        ["what", [row.mode, axis].filter(Boolean).join(", ")], ["adds", list(told.techniques)], ["takes out", list(told.removed)],
        ["sets", told.knobs ? list(Object.entries(told.knobs).map(([name, value]) => `${name} = ${value}`)) : null],
        ["by", told.by], ["crowding", told.crowding ? list(Object.entries(told.crowding).map(([view, value]) => `${view} ${value.toFixed(2)}`)) : null],
        ["time", told.seconds ? `featurise ${told.seconds.featurise} s, train ${told.seconds.train} s, predict ${told.seconds.predict} s; ${told.memory_gib} GiB` : null]]),
      row.parent === null ? null : make("p", {}, "edited from ", goTo(row.parent)),
      children.length ? make("p", {}, "edited into ", ...children.flatMap((child) => [goTo(child), " "])) : null,
      told.hypothesis ? make("h3", {}, "The idea") : null, told.hypothesis ? make("p", {}, told.hypothesis) : null,
      told.source ? make("p", {}, `Source: ${told.source}`, ...links) : null,
      told.why ? make("h3", {}, "Why it was tried") : null, told.why ? make("p", {}, told.why) : null,
      told.review ? make("h3", {}, "Review") : null,
      told.review ? make("p", {}, [told.review.kind, ...told.review.reasons].join("; ")) : null,
      told.diff ? make("h3", {}, "Change") : null, told.diff ? coloured(told.diff) : null,
      told.log && told.log.length ? make("h3", {}, "End of the log") : null, told.log && told.log.length ? make("pre", { tabindex: "0" }, told.log.join("\n")) : null,
    ];
    const side = byId("side");
    side.replaceChildren(...parts.filter(Boolean));
    side.scrollTop = 0;
    placeRing();
  }
  function errorPanel(panel) {
    const figures = make("div", { class: "two" }, plot(panel.id, 0, panel.figures[0], "Prediction against label"), plot(panel.id, 1, panel.figures[1], "Error by range of the label"));
    const unit = panel.unit ? ` (${panel.unit})` : "";
    const worst = make("div", {}, make("h3", {}, "The worst crystals"), table(["formula", "space group", "atoms", `label${unit}`, "champion", ...(panel.worst.some((one) => one.seed !== null) ? ["seed"] : [])],
      panel.worst.map((one) => [one.formula, one.space_group || "–", one.n_atoms, number(one.label, 2), number(one.champion, 2), ...(one.seed === null ? [] : [number(one.seed, 2)])]), 1));
    const parts = [figures];
    if (panel.confusion) {
      const { rows, threshold, share_of_error } = panel.confusion;
      parts.push(make("div", { class: "two" }, worst, make("div", {}, make("h3", {}, "Metal or not"),
        table(["labelled", "said metal", "said non-metal", "right"], rows.map(([label, metal, other]) => [label, metal, other, `${((100 * (label === "metal" ? metal : other)) / Math.max(1, metal + other)).toFixed(1)} %`]), 1),
        make("p", { class: "note" }, `A prediction below ${threshold} says metal. Crystals on the wrong side make up ${(100 * share_of_error).toFixed(0)} % of the whole error.`))));
    } else parts.push(worst);
    return parts;
  }
  function standingPanel(panel) {
    const blocks = panel.blocks.map((block, i) => make("div", {}, make("h3", {}, block.title), plot(panel.id, i, block.figure, block.title), make("p", { class: "note" }, block.note)));
    const rows = panel.sources.map((one) => [one.name, number(one.value), make("span", {}, one.source, ...one.links.flatMap((link) => [" ", make("a", { href: link.url, rel: "noopener noreferrer", target: "_blank" }, link.text)])), one.note]);
    return [...blocks, make("details", {}, make("summary", {}, "Where these figures are from"), table(["model", "value", "source", "note"], rows, 9))];
  }
  function table(heads, rows, numbersFrom) {
    const cell = (tag) => (value, i) => make(tag, { class: i >= numbersFrom ? "number" : null, scope: tag === "th" ? "col" : null }, value instanceof Node ? value : String(value ?? ""));
    return make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(cell("th")))), make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell("td"))))));
  }
  function trialsPanel(trials) {
    const rows = () => trials.map((row) => [make("button", { type: "button", "aria-label": `Show trial ${row.number}`, onclick: () => { select(row.number); byId("side").scrollIntoView({ block: "nearest" }); } }, String(row.number)),
      row.title, row.mode, row.axis, `${OUTCOMES[row.outcome] || ""} ${row.outcome}${row.is_champion ? " (champion)" : ""}`, row.parent === null ? "" : String(row.parent), number(row.score), signed(row.gain)]);
    const holder = make("div", { class: "scroll", tabindex: "0" });
    const fill = () => { if (!holder.firstChild) holder.append(table(["trial", "idea", "mode", "axis", "outcome", "from", "score", "gain"], rows(), 6)); };
    const open = byId("all-trials") ? byId("all-trials").open : false;
    if (open) fill();
    return make("section", { class: "panel" }, make("details", { id: "all-trials", open, ontoggle: fill }, make("summary", {}, `All ${several(trials.length, "trial", "trials")} as a table`), holder));
  }
  const DRAWN = { progress: progressPanel, ideas: graphPanel, errors: errorPanel, standing: standingPanel,
    noise: (panel) => { const [first, ...rest] = panel.figures.map((figure, i) => plot(panel.id, i, figure, `${panel.title} ${i + 1}`)); return rest.length ? [make("div", { class: "two" }, first, rest[0]), ...rest.slice(1)] : [first]; } };
  function drawPanel(panel) {
    const body = (DRAWN[panel.id] || ((one) => one.figures.map((figure, i) => plot(one.id, i, figure, one.title))))(panel);
    return make("section", { class: "panel", id: `panel-${panel.id}`, "aria-labelledby": `title-${panel.id}` },
      make("h2", { id: `title-${panel.id}` }, panel.title), make("p", { class: "teaches" }, panel.teaches), ...body, ...(panel.notes || []).map((note) => make("p", { class: "note" }, note)));
  }

  // ---- the whole
  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  }
  async function render(payload) {
    const turn = ++state.asked;
    let details = {};
    try { details = await unpack(payload.details); } catch (error) { console.warn("details cannot be opened by this browser", error); }
    if (turn !== state.asked) return; // a newer one came meanwhile
    state.payload = payload;
    state.details = details;
    state.rows = new Map(payload.trials.map((row) => [row.number, row]));
    state.children = new Map();
    for (const row of payload.trials) if (row.parent !== null) state.children.set(row.parent, [...(state.children.get(row.parent) || []), row.number]);
    drawHeader(payload);
    const panels = payload.panels.map(drawPanel);
    const ideas = panels.findIndex((node) => node.id === "panel-ideas");
    if (ideas >= 0) panels.splice(ideas + 1, 0, trialsPanel(payload.trials));
    byId("panels").replaceChildren(...panels);
    state.plots = state.plots.filter((plot) => plot.node.isConnected);
    const champion = payload.header.champion, last = payload.trials.length ? payload.trials[payload.trials.length - 1].number : null;
    if (byId("side")) select(state.rows.has(state.selected) ? state.selected : champion ?? last);
    document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn || 0) + 1);
  }
  function isDark() {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function switchTheme() {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("team-theme", document.documentElement.dataset.theme); } catch { /* a file may have no storage */ }
  }
  // Paper is narrower than most windows, and a figure's width is drawn, not flowed.
  const PAPER_PIXELS = 690;
  addEventListener("beforeprint", () => { for (const { node } of state.plots) Plotly.relayout(node, { width: PAPER_PIXELS, autosize: false }); });
  addEventListener("afterprint", () => { for (const { node } of state.plots) Plotly.relayout(node, { width: undefined, autosize: true }); });
  try { const kept = localStorage.getItem("team-theme"); if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept; } catch { /* no storage */ }
  const embedded = byId("payload");
  if (embedded) render(JSON.parse(embedded.textContent));
  return { render, select, state, make, coloured };
})();
