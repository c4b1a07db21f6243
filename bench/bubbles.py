#!/usr/bin/env python3
"""The bubble of every schedule in 2 to 4 stages: what `stagecc simulate` says beside a run's trace.

Each machine has the same, fixed part of a core (bench/share.c), so that nobody gets faster because another waits: a
step takes longer, its shares stay. Measured is what the instructions of a trace leave free, from one drain of the
pipeline to the next behind the first. The plan is made again from a profile before and after each run, and both
predict that run.
  goal: within 10 % (median of 3)
    bench/bubbles.py [STAGES [ROUNDS [SCHEDULE,...]]]     STAGES: 2 to 4, or 2,3; results/bubbles.json keeps the rows of others
"""
import json
import os
import subprocess
import sys
import time

import common

MODEL = ["examples/gpt/gpt.c", "-D", "LAYERS=12", "-D", "DIM=256", "-D", "T=128", "-D", "VOCAB=256", "-D", "DROPOUT=0", "--batch", 24, "--micro-batches", 12]  # rounds of 2, 3 and 4 machines
CORES, STEPS, SLICE_US = os.cpu_count(), 8, 2000
WORK = common.WORK / "bubbles"
TEXT = WORK / "text.txt"  # one epoch: its last, smaller batch would be another pipeline
# Their names as `--schedule` takes them, and what else they need.
SCHEDULES = {"gpipe": [], "1f1b": [], "zb-h1": [], "interleaved": ["--virtual-stages", 2], "pipedream": [], "pipedream-vertical": [], "pipedream-2bw": []}
WAITING = {"acquire", "recv", "send", "release", "norm_apply"}


def stagecc(*words):
    return common.run([common.STAGECC, *words], cwd=common.SOURCE)


def options(schedule):
    drains = ["--drain-every", STEPS] if schedule.startswith("pipedream") else []
    return [*MODEL, "--schedule", schedule, *SCHEDULES[schedule], "--clip-norm", 0, *drains]


def predict(schedule, stages):
    """The simulator's bubble, from a profile of this moment."""
    now, plan, built = WORK / "now", WORK / "plan", WORK / f"{schedule}-{stages}"
    stagecc("profile", *options(schedule), "--no-svg", "-o", now)
    stagecc("plan", *options(schedule), "--plan", built, "--profile", now, "--no-svg", "-o", plan)
    return json.loads(stagecc("simulate", plan, "--json"))["bubble"]


def machine_of(stage, machines):
    return stage % machines  # one stage each, or several of an interleaved schedule


def throttle(launcher, stages, machines):
    """Slices for all machines, as soon as their programs have been started."""
    found = {}
    while launcher.poll() is None and len(found) < stages:
        found = common.stage_processes(launcher.pid)
        time.sleep(0.02)
    share, parts, shares = common.STAGECC.parent / "bench/share", -(-machines // CORES), []
    for core in range(min(CORES, machines)):
        groups = {}
        for stage, pid in sorted(found.items()):
            if machine_of(stage, machines) % CORES == core:
                groups.setdefault(machine_of(stage, machines), []).append(str(pid))
        shares.append(subprocess.Popen([share, str(core), str(SLICE_US), str(parts), *map(",".join, groups.values())]))
    return shares


def waiting(trace, machines):
    """What the instructions of all stages leave free, from the end of step STEPS to that of twice as many."""
    events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
    ends = [max(e["ts"] + e["dur"] for e in events if e["name"] == "update" and e["args"]["step"] <= step) for step in (STEPS, 2 * STEPS)]
    busy = sum(max(0, min(e["ts"] + e["dur"], ends[1]) - max(e["ts"], ends[0])) for e in events if e["name"] not in WAITING)
    return 1 - busy / (ends[1] - ends[0]) / machines


def measure(schedule, machines):
    built, trace = WORK / f"{schedule}-{machines}", WORK / "trace.json"
    stages = len(json.loads((built / "plan.json").read_text())["stages"])
    command = [common.STAGECC, "run", built, "--data", f"text:{TEXT}", "--steps", 2 * STEPS, "--trace", trace]
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=common.SOURCE) as launcher:
        shares = throttle(launcher, stages, machines)
        launcher.wait()
        for share in shares:
            share.terminate()
            share.wait()
    if launcher.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {launcher.returncode}")
    return waiting(trace, machines)


def row(schedule, stages, rounds):
    built = WORK / f"{schedule}-{stages}"
    stagecc("profile", *options(schedule), "--no-svg", "-o", WORK / "now")
    stagecc("build", *options(schedule), "--stages", stages, "--profile", WORK / "now", "--no-svg", "-o", built)
    figures = common.sandwich(rounds, lambda: predict(schedule, stages), lambda: measure(schedule, stages))
    return {"schedule": schedule, "stages": stages, "simulated": [round((b + a) / 2, 4) for b, _, a in figures],
            "measured": [round(m, 4) for _, m, _ in figures], "ratio": round(1 / common.by_outer(figures), 3)}


def main():
    words = sys.argv[1:]
    wanted = [int(s) for s in (words[0] if words else "2,3,4").split(",")]
    rounds = int(words[1]) if len(words) > 1 else 3
    schedules = words[2].split(",") if len(words) > 2 else list(SCHEDULES)
    WORK.mkdir(parents=True, exist_ok=True)
    docs = "".join(p.read_text() for p in sorted((common.SOURCE / "docs").glob("*.md")))
    TEXT.write_text((docs * 2)[: 2 * (STEPS + 1) * 24 * 128])
    rows = {(r["stages"], r["schedule"]): r for r in common.stored("bubbles").get("rows", [])}
    for stages in wanted:
        for schedule in schedules:
            rows[stages, schedule] = row(schedule, stages, rounds)
            print(json.dumps(rows[stages, schedule]), flush=True)
    common.store("bubbles", {"model": "GPT, 12 blocks of 256, T 128, batch 24, 12 micro-batches", "rounds": rounds, "rows": [rows[k] for k in sorted(rows)]})


main()
