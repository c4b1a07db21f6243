#!/usr/bin/env python3
"""The bubble of every schedule in 2 to 4 stages: what `stagecc simulate` says beside a run's trace.

Measured is what the instructions of a trace leave free, from one drain of the pipeline to the next: the median of
several. All ranks get the same share of the machine: `run --rehearse` makes every instruction take as long as the plan
says, times SLOWDOWN, whatever the others do in that time. Messages, waits, their order and the work are real; `late` is
the share of instructions that took longer all the same.
  goal: within 10 % (median of 3)
With `shares` each rank has a fixed part of a core instead (bench/share.c), and instructions take what they take on this
machine; then the plan is made again from a profile before and after each run, and both predict that run.
    bench/bubbles.py [STAGES [ROUNDS [SCHEDULE,... [shares]]]]     STAGES: 2 to 4, or 2,3
results/bubbles.json and bubbles_shares.json keep the rows of other calls.
"""
import json
import os
import subprocess
import sys
import time

import common

BATCH, STEPS, DRAINS = 24, 2, 3  # steps from drain to drain of asynchronous schedules; drains that are measured
MODEL = ["examples/gpt/gpt.c", "-D", "LAYERS=12", "-D", "VOCAB=256", "-D", "DROPOUT=0", "--batch", BATCH, "--micro-batches", 12]  # rounds of 2, 3 and 4 machines
SIZES = {False: {"DIM": 64, "T": 32}, True: {"DIM": 256, "T": 128}}  # shares need longer instructions than slices
SLOWDOWN = 120  # an instruction lasts some 50 ms: a wake-up takes 0.1, and a core is nearly always free
CORES, SLICE_US = os.cpu_count(), 2000
WORK = common.WORK / "bubbles"
TEXT = WORK / "text.txt"
# Their names as `--schedule` takes them, and what else they need.
SCHEDULES = {"gpipe": [], "1f1b": [], "zb-h1": [], "interleaved": ["--virtual-stages", 2], "pipedream": [], "pipedream-vertical": [], "pipedream-2bw": []}
WAITING = {"acquire", "recv", "send", "release", "norm_apply"}


def stagecc(*words):
    return common.run([common.STAGECC, *words], cwd=common.SOURCE)


def options(schedule, shares):
    sizes = [word for name, value in SIZES[shares].items() for word in ("-D", f"{name}={value}")]
    drains = ["--drain-every", STEPS] if schedule.startswith("pipedream") else []
    return [*MODEL, *sizes, "--schedule", schedule, *SCHEDULES[schedule], "--clip-norm", 0, *drains]


def simulated(plan):
    return json.loads(stagecc("simulate", plan, "--json"))["bubble"]


def predict(schedule, stages):
    """The simulator's bubble, from a profile of this moment."""
    now, plan, built = WORK / "now", WORK / "plan", WORK / f"{schedule}-{stages}"
    stagecc("profile", *options(schedule, True), "--no-svg", "-o", now)
    stagecc("plan", *options(schedule, True), "--plan", built, "--profile", now, "--no-svg", "-o", plan)
    return simulated(plan)


def machine_of(stage, machines):
    return stage % machines  # one stage each, or several of an interleaved schedule


def share_out(launcher, stages, machines):
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


def waiting(events, machines, steps):
    """What the instructions of all stages leave free from drain to drain, the first left out: the median."""
    ends = [max(e["ts"] + e["dur"] for e in events if e["name"] == "update" and e["args"]["step"] <= step) for step in range(steps, (DRAINS + 1) * steps + 1, steps)]
    work = [(e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] not in WAITING]
    busy = [sum(max(0, min(end, b) - max(begin, a)) for begin, end in work) for a, b in zip(ends, ends[1:])]
    return common.median([1 - used / (b - a) / machines for used, a, b in zip(busy, ends, ends[1:])])


def at_least(command):
    """[{instruction: seconds}] of every stage, as the launcher tells its program."""
    words = [line.split()[line.split().index("--at-least") + 1] for line in stagecc(*command[1:], "--dry-run").splitlines()]
    return [{name: float(seconds) for name, seconds in (pair.split("=") for pair in word.split(","))} for word in words]


def late(events, should):
    """Share of passes that took 2 % longer than they should."""
    passes = [e["dur"] / 1e6 > 1.02 * should[e["pid"]][e["name"]] for e in events if e["name"] in ("forward", "backward", "backward_weight")]
    return sum(passes) / len(passes)


def measure(schedule, machines, shares):
    """Bubble, and the share of late passes."""
    built, trace = WORK / f"{schedule}-{machines}", WORK / "trace.json"
    plan = json.loads((built / "plan.json").read_text())
    steps = STEPS if schedule.startswith("pipedream") else 1
    rehearse = [] if shares else ["--rehearse", SLOWDOWN]
    command = [common.STAGECC, "run", built, "--data", f"text:{TEXT}", "--steps", (DRAINS + 1) * steps, "--trace", trace, *rehearse]
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=common.SOURCE, text=True) as launcher:
        slices = share_out(launcher, len(plan["stages"]), machines) if shares else []
        told = launcher.communicate()[1]
        for share in slices:
            share.terminate()
            share.wait()
    if launcher.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {launcher.returncode}\n{told}")
    events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
    return waiting(events, machines, steps), 0 if shares else late(events, at_least(command))


def row(schedule, stages, rounds, shares):
    built = WORK / f"{schedule}-{stages}"
    stagecc("profile", *options(schedule, shares), "--no-svg", "-o", WORK / "now")
    stagecc("build", *options(schedule, shares), "--stages", stages, "--profile", WORK / "now", "--no-svg", "-o", built)
    if shares:
        figures = common.sandwich(rounds, lambda: predict(schedule, stages), lambda: measure(schedule, stages, True)[0])
        return {"schedule": schedule, "stages": stages, "simulated": [round((b + a) / 2, 4) for b, _, a in figures],
                "measured": [round(m, 4) for _, m, _ in figures], "ratio": round(common.by_outer(figures), 3)}
    bubble, runs = simulated(built), [measure(schedule, stages, False) for _ in range(rounds)]
    return {"schedule": schedule, "stages": stages, "simulated": round(bubble, 4), "measured": [round(m, 4) for m, _ in runs],
            "ratio": round(common.median([m for m, _ in runs]) / bubble, 3), "late": round(max(part for _, part in runs), 3)}


def main():
    words = sys.argv[1:]
    wanted = [int(s) for s in (words[0] if words else "2,3,4").split(",")]
    rounds = int(words[1]) if len(words) > 1 else 3
    schedules = words[2].split(",") if len(words) > 2 else list(SCHEDULES)
    shares = words[3:] == ["shares"]
    name = "bubbles_shares" if shares else "bubbles"
    WORK.mkdir(parents=True, exist_ok=True)
    docs = "".join(p.read_text() for p in sorted((common.SOURCE / "docs").glob("*.md")))
    TEXT.write_text((docs * 9)[: ((DRAINS + 1) * STEPS + 1) * BATCH * SIZES[shares]["T"]])  # one epoch: its last, smaller batch would be another pipeline
    rows = {(r["stages"], r["schedule"]): r for r in common.stored(name).get("rows", [])}
    for stages in wanted:
        for schedule in schedules:
            rows[stages, schedule] = row(schedule, stages, rounds, shares)
            print(json.dumps(rows[stages, schedule]), flush=True)
    common.store(name, {"model": f"GPT, 12 blocks, {SIZES[shares]}, batch {BATCH}, 12 micro-batches", "rounds": rounds, "rows": [rows[k] for k in sorted(rows)]})


main()
