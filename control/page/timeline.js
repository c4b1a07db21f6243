"use strict";

// The timeline: what each rank did when in one step, a row for each. Work is a box, waiting a thin line; the shaded ground is
// the rank's own step. The pointer, or the arrow keys, ask for a span.
const spanKinds = [ // by the beginning of a span's name: its class and what it is
  ["wait_master", "leave", "waits for the master"], ["wait", "wait", "waits for another rank"],
  ["backward_weight", "weight", "gradients of weights"], ["backward", "backward", "backward"], ["forward", "forward", "forward"],
  ["update", "update", "update"], ["reduce", "exchange", "exchange of gradients"], ["share", "exchange", "exchange of gradients"],
  ["", "rest", "other"],
];
const keyOrder = ["forward", "backward", "weight", "update", "exchange", "rest", "wait", "leave"];
const spanKind = name => spanKinds.find(k => text(name).startsWith(k[0]));
const isWork = name => !/^(wait|acquire|recv|send|release)/.test(text(name));
const spansMost = 64 * 256, numbersMost = 2000;

// Spans as numbers that can be drawn; what is none is left out.
function timelineRows(t) {
  let left = spansMost;
  return objects(t && t.ranks).map(r => {
    const spans = objects(r.spans).filter(s => known(s[2]) && known(s[3]) && s[3] >= s[2]).slice(0, Math.max(0, left));
    left -= spans.length;
    const begin = known(r.begin_ms) ? r.begin_ms : spans.length ? spans[0][2] : NaN;
    const end = known(r.end_ms) ? r.end_ms : spans.length ? spans[spans.length - 1][3] : NaN;
    return { rank: r.rank, begin, end, spans };
  }).filter(r => known(r.begin) && known(r.end));
}

function spanInWords(name, [kind, mb, begin, end]) {
  const words = text(kind).replaceAll("_", " ") + (/^(wait_)?(load|for|back|rec|sen|acq|rel)/.test(text(kind)) ? " " + text(mb) : "");
  return name + ": " + words + ", " + duration((end - begin) / 1000) + " from " + digits(begin) + " to " + digits(end) + " ms";
}

function Timeline() {
  const box = byId("timeline-drawing"), height = 26, bottom = 24;
  let rows = [], names = new Map(), step, clocks, asked = null, fits = 0; // asked: [row, span]
  let from = 0, to = 1, left = 0, right = 0, width = 0;
  const x = ms => left + (ms - from) / (to - from) * (width - left - right);
  const nameOfRow = r => names.get(r.rank) || "rank " + text(r.rank);

  // A span of no width would not be seen.
  function boxOf(span, i) {
    const waits = text(span[0]).startsWith("wait"), y = i * height + (waits ? 11 : 2), w = Math.max(.6, x(span[3]) - x(span[2]));
    return `M${x(span[2]).toFixed(2)} ${y}h${w.toFixed(2)}v${waits ? 3 : height - 5}h-${w.toFixed(2)}z`;
  }

  function drawRow(svg, r, i, budget) {
    const row = make("g", { "data-rank": text(r.rank) }), paths = new Map(), numbers = [];
    let busy = 0;
    for (const span of r.spans) {
      const [, kind] = spanKind(span[0]), w = x(span[3]) - x(span[2]);
      paths.set(kind, (paths.get(kind) || "") + boxOf(span, i));
      if (isWork(span[0])) busy += span[3] - span[2];
      if (w > 8 + 7 * text(span[1]).length && /^(for|back)ward/.test(text(span[0])) && numbers.length < budget) {
        numbers.push(make("text", { class: "mb", x: x(span[2]) + w / 2, y: i * height + 17 }, text(span[1])));
      }
    }
    const name = nameOfRow(r), most = Math.floor((left - 8) / 6.8);
    row.append(make("text", { class: "label", x: 0, y: i * height + 17 },
      left < 60 ? text(r.rank) : name.length > most ? name.slice(0, most - 1) + "…" : name));
    if (right > 30) {
      const share = Math.round(100 * busy / (to - from)) + " %";
      row.append(make("text", { x: width, y: i * height + 17, "text-anchor": "end" }, share, make("title", null, name + " computes for " + share + " of the time shown")));
    }
    row.append(make("path", { class: "window", d: boxOf(["", 0, r.begin, r.end], i) }));
    row.append(...[...paths].map(([kind, d]) => make("path", { class: kind, d })), ...numbers);
    svg.append(row);
    return [numbers.length, paths.keys()];
  }

  function draw() {
    fits = box.clientWidth;
    width = Math.max(280, fits);
    [left, right] = width > 560 ? [170, 48] : [26, 6];
    [from, to] = [Math.min(...rows.map(r => r.begin)), Math.max(...rows.map(r => r.end))];
    if (!(to > from)) to = from + 1e-3;
    const yBottom = rows.length * height + 2, tall = yBottom + bottom, used = new Set();
    const svg = make("svg", { viewBox: `0 0 ${width} ${tall}`, height: tall, role: "img",
      "aria-label": "What each rank did in step " + step + ", over " + duration((to - from) / 1000) });
    let budget = numbersMost;
    rows.forEach((r, i) => {
      const [numbers, seen] = drawRow(svg, r, i, budget);
      budget -= numbers;
      for (const kind of seen) used.add(kind);
    });
    for (const tick of ticks(0, to - from, Math.max(2, width / 120)).list) {
      const px = x(from + tick.at);
      svg.append(line("axis", px, yBottom, px, yBottom + 4));
      svg.append(make("text", { x: px, y: tall - 6, "text-anchor": px > width - right - 30 ? "end" : "middle" }, tick.name + " ms"));
    }
    svg.append(line("axis", left, yBottom, width - right, yBottom));
    const span = asked && rows[asked[0]] && rows[asked[0]].spans[asked[1]];
    if (span) svg.append(make("path", { class: "pointed", d: boxOf(span, asked[0]) }));
    byId("timeline-read").textContent = span ? spanInWords(nameOfRow(rows[asked[0]]), span)
      : "Point at a span for its times." + (right > 30 ? " At the right: how much of the time shown the rank computes." : "");
    box.replaceChildren(svg);
    drawKey(used);
  }

  function drawKey(used) {
    byId("timeline-step").textContent = "step " + step + " · " + duration((to - from) / 1000);
    byId("timeline-clocks").textContent = clocks > 1 ? clocks + " machines; their clocks are matched by their messages to the master" : "";
    byId("timeline-key").replaceChildren(...keyOrder.filter(kind => used.has(kind)).map(kind =>
      make("span", null, make("i", { class: kind }), spanKinds.find(k => k[1] === kind)[2])));
  }

  function ask(at) {
    if (String(at) === String(asked)) return;
    asked = at;
    draw();
  }

  // The span at a place, or the nearest within a few pixels.
  function spanAt(px, py) {
    const i = Math.floor(py / height), spans = rows[i] ? rows[i].spans : [];
    const away = s => Math.max(x(s[2]) - px, px - x(s[3]), 0);
    const best = spans.reduce((b, s, k) => b < 0 || away(s) < away(spans[b]) ? k : b, -1);
    return best >= 0 && away(spans[best]) < 4 ? [i, best] : null;
  }

  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "What each rank did when; arrow keys read spans");
  box.addEventListener("pointermove", e => {
    const place = box.getBoundingClientRect();
    ask(spanAt(e.clientX - place.left, e.clientY - place.top));
  });
  box.addEventListener("pointerleave", () => ask(null));
  box.addEventListener("keydown", e => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
    if (!move || !rows.length) return;
    const bound = (n, most) => Math.max(0, Math.min(most, n));
    const [i, k] = asked || [0, -1], row = bound(i + move[0], rows.length - 1), spans = rows[row].spans, was = rows[i] && rows[i].spans[k];
    const later = was ? spans.findIndex(s => s[3] > was[2]) : 0;
    const next = move[0] ? (later < 0 ? spans.length - 1 : later) : bound(k + move[1], spans.length - 1);
    if (next >= 0) ask([row, next]);
    e.preventDefault();
  });
  new ResizeObserver(() => requestAnimationFrame(() => { if (rows.length && fits !== box.clientWidth) draw(); })).observe(box);

  return (t, called) => {
    rows = timelineRows(t);
    names = called;
    if (t) [step, clocks] = [text(t.step), known(t.clocks) ? t.clocks : 1];
    byId("timeline").hidden = !rows.some(r => r.spans.length);
    if (!byId("timeline").hidden) draw();
  };
}
