"use strict";
// What all that is drawn is made of.

// Elements. What stands in `children` as a string becomes text.
const byId = id => document.getElementById(id);
const svgNames = new Set(["svg", "g", "line", "path", "rect", "circle", "text", "title"]);
function make(name, attributes, ...children) {
  const e = svgNames.has(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null) e.setAttribute(key, value);
  }
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

// Words for numbers
const known = x => typeof x === "number" && Number.isFinite(x);
const list = x => Array.isArray(x) ? x : [];
const objects = x => list(x).filter(o => o !== null && typeof o === "object");
const text = x => typeof x === "string" || known(x) ? String(x) : "";
const none = "–";

function digits(x, n = 3) {
  if (!known(x)) return none;
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return x.toExponential(n - 1);
  return x.toFixed(size === 0 ? 0 : Math.min(6, Math.max(0, n - 1 - Math.floor(Math.log10(size)))));
}

function duration(s) {
  if (!known(s)) return none;
  if (s < 1e-3) return digits(s * 1e6) + " µs";
  if (s < 1) return digits(s * 1e3) + " ms";
  if (s < 60) return digits(s) + " s";
  const whole = Math.round(s), two = n => String(n).padStart(2, "0");
  if (whole < 3600) return Math.floor(whole / 60) + " min " + two(whole % 60) + " s";
  if (whole < 86400) return Math.floor(whole / 3600) + " h " + two(Math.floor(whole / 60) % 60) + " min";
  return Math.floor(whole / 86400) + " d " + Math.floor(whole / 3600) % 24 + " h";
}

function bytes(n) {
  if (!known(n)) return none;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let u = 0;
  while (n >= 1024 && u < units.length - 1) { n /= 1024; u++; }
  return (u ? digits(n) : String(n)) + " " + units[u];
}

function timeOfDay(at, now) { // with the date where that is another one
  if (!known(at)) return none;
  const then = new Date(at * 1000), time = then.toLocaleTimeString("en-GB");
  return then.toDateString() === new Date(now * 1000).toDateString() ? time
    : then.toLocaleDateString("en-CA") + " " + time;
}

// Redraw only what has changed, so that selections and what a screen reader says stay.
const drawn = new Map();
function redraw(id, about, draw) {
  const key = JSON.stringify(about);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  draw(byId(id));
}

// Axes: steps of 1, 2 or 5 times a power of ten, about `most` of them.
function ticks(low, high, most) {
  const raw = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(k => k * power >= raw * .999);
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    out.push({ at: i * step, name: Math.abs(i * step) >= 1e6 ? (i * step).toExponential() : (i * step).toFixed(places) });
  }
  return { step, list: out };
}

function line(kind, x1, y1, x2, y2, title) {
  return make("line", { class: kind, x1, y1, x2, y2 }, title ? make("title", null, title) : null);
}
