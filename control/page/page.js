"use strict";

// The headline
const phases = { waiting: "Waiting", starting: "Starting", running: "Running", done: "Done" };

function phaseInWords(s) {
  const word = phases[s.phase] || text(s.phase) || "Unknown", waits = text(s.waits);
  if (!waits) return word;
  return word + (s.phase === "waiting" && waits.startsWith("for ") ? " " : ": ") + waits;
}

function remaining(s) {
  const batch = s.plan && s.plan.batch, left = s.last_step - s.step;
  if (s.phase === "done") return 0;
  return s.phase === "running" && s.samples_per_s > 0 && known(batch) && left >= 0 ? left * batch / s.samples_per_s : NaN;
}

function headline(s) {
  redraw("model", s.model, e => { e.textContent = text(s.model) || "stagecc"; });
  redraw("phase", [s.phase, s.waits], e => {
    e.className = Object.hasOwn(phases, s.phase) ? s.phase : "";
    e.textContent = phaseInWords(s);
  });
  const left = remaining(s), workers = objects(s.workers);
  const readings = [
    ["Step", known(s.step) ? String(s.step) : none, known(s.last_step) ? "of " + s.last_step : ""],
    ["Loss", digits(s.loss, 4), ""],
    ["Samples/s", digits(s.samples_per_s), ""],
    ["Remaining", s.phase === "done" ? "done" : duration(left), ""],
    ["Epoch", known(s.epoch) ? String(s.epoch) : none, s.changes > 0 ? s.changes + (s.changes === 1 ? " change" : " changes") + " of plan" : ""],
    ["Last pause", known(s.last_pause_s) && s.last_pause_s > 0 ? duration(s.last_pause_s) : none, ""],
    ["Workers", String(workers.filter(w => w.here).length), "of " + workers.length + (s.losses > 0 ? ", " + s.losses + " lost so far" : "")],
  ];
  redraw("readings", readings, e => e.replaceChildren(...readings.map(([name, value, note]) =>
    make("div", null, make("dt", null, name), make("dd", null, value + " ", note ? make("small", null, note) : null)))));
  redraw("progress", [s.step, s.last_step], e => {
    const share = s.last_step > 0 && known(s.step) ? Math.min(1, Math.max(0, s.step / s.last_step)) : 0;
    const fill = make("i");
    fill.style.width = 100 * share + "%";
    e.setAttribute("aria-valuemax", known(s.last_step) ? s.last_step : 1);
    e.setAttribute("aria-valuenow", known(s.step) ? s.step : 0);
    e.replaceChildren(fill);
  });
  document.title = (known(s.step) ? s.step + (known(s.last_step) ? "/" + s.last_step : "") + " · " : "") +
    (text(s.model) || "stagecc");
}

// The pipeline
function bar(kind, share, mark, label) {
  const e = make("div", { class: "bar " + kind, role: "img", "aria-label": label, title: label });
  const place = x => 100 * Math.min(1, Math.max(0, x)) + "%";
  if (known(share)) e.append(make("i"));
  if (known(mark)) e.append(make("b"));
  if (known(share)) e.querySelector("i").style.width = place(share);
  if (known(mark)) e.querySelector("b").style.left = place(mark);
  return e;
}

function against(measured, predicted) { // "+6 %"
  if (!known(measured) || !(predicted > 0)) return "";
  const percent = Math.round(100 * (measured / predicted - 1));
  return (percent > 0 ? "+" : percent < 0 ? "−" : "±") + Math.abs(percent) + " %";
}

function nameOf(worker, workers) {
  return worker ? text(worker.name) || "worker " + text(worker.worker) : "worker " + text(workers);
}

function replica(r, worker, longest, several) {
  const measured = known(r.busy_s);
  const busy = (measured ? duration(r.busy_s) + " busy" : "not measured yet") +
    (known(r.predicted_s) ? ", " + duration(r.predicted_s) + " predicted" : "");
  const memory = bytes(r.memory_bytes) + (worker && known(worker.memory_bytes) ? " of " + bytes(worker.memory_bytes) : "");
  const away = worker && worker.here === false;
  return make("div", { class: "replica" },
    make("p", null,
      make("span", away ? { class: "away" } : null, nameOf(worker, r.worker) + (away ? " (away)" : "")),
      make("span", { class: "soft small" }, (several ? "replica " + text(r.replica) + ", " : "") + "rank " + text(r.rank))),
    bar("", r.busy_s / longest, r.predicted_s / longest, "a step: " + busy),
    make("p", { class: "small" }, make("span", null, busy), make("span", { class: "soft" }, against(r.busy_s, r.predicted_s))),
    bar("memory", worker ? r.memory_bytes / worker.memory_bytes : NaN, NaN, "memory: " + memory),
    make("p", { class: "small soft" }, make("span", null, memory),
      known(r.parameter_bytes) ? make("span", null, bytes(r.parameter_bytes) + " parameters") : null));
}

function stageBox(stage, replicas, workers, longest, slowest) {
  const first = text(replicas[0].first), last = text(replicas[0].last);
  return make("li", { class: "card" + (slowest ? " slowest" : "") },
    make("header", null, make("h3", null, "Stage " + text(stage)),
      slowest ? make("span", { class: "soft small" }, "busy longest") : null),
    make("p", { class: "soft" }, first + (last && last !== first ? " – " + last : "")),
    ...replicas.map(r => replica(r, workers.get(r.worker), longest, replicas.length > 1)));
}

function planInWords(s, p) {
  const words = [text(p.name), text(p.schedule)];
  if (known(p.batch)) words.push("batch " + p.batch + (known(p.micro_batches) ? " in " + p.micro_batches + " micro-batches" : ""));
  if (known(p.predicted_step_s)) words.push(duration(p.predicted_step_s) + " a step predicted");
  if (s.samples_per_s > 0 && known(p.batch)) words.push(duration(p.batch / s.samples_per_s) + " measured");
  return words.filter(Boolean).join(" · ");
}

function pipeline(s) {
  const p = s.plan || {}, stages = objects(p.stages);
  const workers = new Map(objects(s.workers).map(w => [w.worker, w]));
  redraw("plan", [stages.length, p.name, p.schedule, p.batch, p.micro_batches, p.predicted_step_s, s.samples_per_s], e => {
    e.textContent = stages.length ? planInWords(s, p) : "There is no plan yet.";
    byId("stages-key").hidden = !stages.length;
  });
  const about = objects(s.workers).map(w => [w.worker, w.name, w.here, w.memory_bytes]);
  redraw("stages", [stages, about], e => {
    const byStage = new Map();
    for (const r of stages) byStage.set(r.stage, [...(byStage.get(r.stage) || []), r]);
    const longest = Math.max(...stages.flatMap(r => [r.busy_s, r.predicted_s]).filter(known), 1e-9);
    const busy = rs => Math.max(...rs.map(r => known(r.busy_s) ? r.busy_s : known(r.predicted_s) ? r.predicted_s : 0));
    const most = Math.max(...[...byStage.values()].map(busy));
    const order = [...byStage].sort((a, b) => a[0] - b[0]);
    e.replaceChildren(...order.map(([n, rs]) => stageBox(n, rs, workers, longest, order.length > 1 && busy(rs) === most)));
  });
}

// Workers and events
function stateOf(w) {
  return [w.here ? text(w.phase) || "here" : "away", w.drained ? "leaving" : ""].filter(Boolean).join(", ");
}

function members(s) {
  const workers = objects(s.workers), here = workers.filter(w => w.here).length;
  const runs = new Map();
  for (const r of objects(s.plan && s.plan.stages)) runs.set(r.worker, [...(runs.get(r.worker) || []), text(r.stage)]);
  redraw("workers-sum", [here, workers.length], e => {
    e.textContent = here === workers.length ? here + " here" : here + " of " + workers.length + " here";
  });
  redraw("workers", [workers, [...runs]], e => {
    const cell = (value, kind) => make("td", kind ? { class: kind } : null, value);
    const rows = workers.map(w => make("tr", null,
      make("th", { scope: "row" }, nameOf(w)),
      cell(stateOf(w), w.here ? "" : "away"),
      cell(runs.has(w.worker) ? "stage " + runs.get(w.worker).join(", ") : none, runs.has(w.worker) ? "" : "soft"),
      cell(known(w.heard_ms) ? (w.heard_ms < 1000 ? Math.round(w.heard_ms) + " ms" : duration(w.heard_ms / 1000)) + " ago" : none, "number"),
      cell(known(w.speed) ? w.speed.toFixed(2) : none, "number"), cell(bytes(w.memory_bytes), "number"),
      cell(known(w.slots) ? String(w.slots) : none, "number"), cell(text(w.isa) || none)));
    e.replaceChildren(...(rows.length ? rows : [make("tr", null, make("td", { colspan: 8, class: "soft" }, "No worker is known yet."))]));
  });
}

function events(s) {
  const all = objects(s.events);
  redraw("events", [all, new Date(s.now * 1000).toDateString()], e => e.replaceChildren(...[...all].reverse().map(v =>
    make("li", null, make("time", known(v.at) ? { datetime: new Date(v.at * 1000).toISOString() } : null, timeOfDay(v.at, s.now)),
      make("span", null, text(v.text)))), all.length ? "" : "Nothing has happened yet."));
}

function timeline(s) {
  const workers = new Map(objects(s.workers).map(w => [w.worker, w]));
  const names = objects(s.plan && s.plan.stages).map(r => [r.rank, "stage " + text(r.stage) + ", " + nameOf(workers.get(r.worker), r.worker)]);
  redraw("timeline-drawing", [s.timeline, names], () => drawTimeline(s.timeline, new Map(names)));
}

// The whole, once a second
const lossCurve = Curve("loss", 1, "Loss", false, v => digits(v, 4));
const drawTimeline = Timeline();
const speedCurve = Curve("speed", 2, "Samples per second", true, v => digits(v));
let newest = null, heardAt = 0; // by this machine's clock

function show(s) {
  headline(s);
  pipeline(s);
  timeline(s);
  const history = list(s.history).filter(r => Array.isArray(r) && known(r[0])), marks = objects(s.events).filter(v => known(v.at));
  redraw("curves", [history, marks], () => {
    lossCurve(history, marks);
    speedCurve(history, marks);
  });
  members(s);
  events(s);
  byId("job").textContent = s.job ? "job " + text(s.job) : "";
  byId("asked").textContent = "as of " + timeOfDay(s.now, Date.now() / 1000);
}

// Keeps what is shown, and says of when it is; the same words as long as that holds, for who has them read out.
function silent(why) {
  const since = heardAt ? " What is shown is of " + timeOfDay(heardAt, Date.now() / 1000) + "." : "";
  redraw("trouble", why + since, e => { e.textContent = "The master does not answer (" + why + ")." + since; });
  byId("trouble").hidden = false;
  drawn.delete("phase");
  byId("phase").className = "silent";
  if (!heardAt) byId("phase").textContent = "No answer from the master";
}

async function ask() {
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error("HTTP " + answer.status);
    newest = await answer.json();
  } catch (error) {
    silent({ TimeoutError: "nothing within 5 s", TypeError: "no connection" }[error.name] || error.message);
    return;
  }
  heardAt = Date.now() / 1000;
  byId("trouble").hidden = true;
  byId("all").hidden = false;
  show(newest);
}

async function watch() {
  try {
    if (!document.hidden) await ask();
  } finally {
    setTimeout(watch, 1000);
  }
}
watch();
