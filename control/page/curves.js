"use strict";

// The step at a time, between the two rows of history around it; NaN: before or behind all of them.
function stepAt(rows, at) {
  const i = rows.findIndex(r => r[3] >= at);
  if (i < 0) return NaN;
  if (i === 0) return rows[0][3] === at ? rows[0][0] : NaN;
  const [a, b] = [rows[i - 1], rows[i]], share = b[3] > a[3] ? (at - a[3]) / (b[3] - a[3]) : 1;
  return a[0] + share * (b[0] - a[0]);
}

// A curve over steps. marks: events; those that name an epoch are lines, the others ticks on the axis. The pointer, or the
// arrow keys, ask for a point.
function Curve(id, column, name, fromZero, format) {
  const box = byId(id), read = byId(id + "-read"), height = 210, top = 16, bottom = 24;
  let rows = [], marks = [], asked = null, fits = 0, x = () => 0;

  function path(y) {
    let d = "", pen = "M";
    for (const r of rows) {
      if (known(r[column])) d += pen + x(r[0]).toFixed(1) + " " + y(r[column]).toFixed(1);
      pen = known(r[column]) ? "L" : "M"; // a gap where there was no number
    }
    return d;
  }

  function drawMarks(svg, yBottom) {
    let free = -Infinity;
    for (const m of marks) {
      const step = stepAt(rows, m.at);
      if (!known(step)) continue;
      const px = x(step), label = "epoch " + text(m.epoch);
      if (!known(m.epoch)) {
        svg.append(line("event", px, yBottom - 5, px, yBottom, text(m.text)));
        continue;
      }
      svg.append(line("epoch", px, top, px, yBottom, label + ": " + text(m.text)));
      if (px > free) svg.append(make("text", { class: "epoch-name", x: px + 3, y: top - 4 }, label));
      if (px > free) free = px + 7 * label.length + 6;
    }
  }

  function nearest(step) {
    const points = rows.filter(r => known(r[column])), last = points[points.length - 1];
    return step === Infinity ? last
      : points.reduce((best, p) => Math.abs(p[0] - step) < Math.abs(best[0] - step) ? p : best, last);
  }

  function drawAsked(svg, yBottom, y) {
    const r = nearest(asked ?? Infinity);
    read.textContent = r ? "step " + r[0] + ": " + format(r[column]) : "";
    if (!r) return;
    if (asked !== null) svg.append(line("hair", x(r[0]), top, x(r[0]), yBottom));
    svg.append(make("circle", { class: "dot", cx: x(r[0]), cy: y(r[column]), r: 3 }));
  }

  function draw() {
    fits = box.clientWidth;
    const values = rows.map(r => r[column]).filter(known), width = Math.max(240, fits);
    if (!values.length) {
      read.textContent = "";
      box.replaceChildren(make("p", { class: "soft" }, "No step is committed yet."));
      return;
    }
    let low = fromZero ? 0 : Math.min(...values), high = Math.max(...values);
    if (high <= low) [low, high] = [fromZero ? 0 : low - .5, Math.max(high, low) + .5];
    const ys = ticks(low, high, 5), from = Math.floor(low / ys.step + 1e-9) * ys.step, to = Math.ceil(high / ys.step - 1e-9) * ys.step;
    const shown = ticks(from, to, 5).list, left = 10 + 7.2 * Math.max(...shown.map(t => t.name.length)), right = 8;
    const first = rows[0][0], last = Math.max(rows[rows.length - 1][0], first + 1), yBottom = height - bottom;
    x = step => left + (step - first) / (last - first) * (width - left - right);
    const y = v => yBottom - (v - from) / (to - from) * (yBottom - top);
    const label = name + " from " + format(values[0]) + " at step " + first + " to " + format(values[values.length - 1]) +
      " at step " + rows[rows.length - 1][0] + "; between " + format(Math.min(...values)) + " and " + format(Math.max(...values));
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    for (const t of shown) {
      svg.append(line("grid", left, y(t.at), width - right, y(t.at)));
      svg.append(make("text", { x: left - 6, y: y(t.at) + 4, "text-anchor": "end" }, t.name));
    }
    for (const t of ticks(first, last, Math.max(2, width / 70)).list) {
      if (t.at % 1) continue; // there is no half step
      svg.append(line("axis", x(t.at), yBottom, x(t.at), yBottom + 4));
      svg.append(make("text", { x: x(t.at), y: height - 6, "text-anchor": x(t.at) > width - 20 ? "end" : "middle" }, t.name));
    }
    svg.append(line("axis", left, yBottom, width - right, yBottom), make("text", { x: 0, y: height - 6 }, "step"));
    drawMarks(svg, yBottom);
    svg.append(make("path", { class: "curve", d: path(y) }));
    drawAsked(svg, yBottom, y);
    box.replaceChildren(svg);
  }

  function ask(step) {
    asked = step;
    draw();
  }
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", name + " by step; arrow keys read points");
  box.addEventListener("pointermove", e => {
    if (!rows.length) return;
    const a = x(rows[0][0]), b = x(rows[0][0] + 1), at = e.clientX - box.getBoundingClientRect().left;
    ask(nearest(rows[0][0] + (at - a) / (b - a))?.[0] ?? null);
  });
  box.addEventListener("pointerleave", () => ask(null));
  box.addEventListener("keydown", e => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!by || !rows.length) return;
    const points = rows.filter(r => known(r[column])), i = points.findIndex(r => r[0] >= (asked ?? Infinity));
    const next = points[Math.min(points.length - 1, Math.max(0, (i < 0 ? points.length - 1 : i) + by))];
    if (next) ask(next[0]);
    e.preventDefault();
  });
  new ResizeObserver(() => requestAnimationFrame(() => { if (fits !== box.clientWidth) draw(); })).observe(box);
  return (history, events) => { [rows, marks] = [history, events]; draw(); };
}
