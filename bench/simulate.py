#!/usr/bin/env python3
"""What `stagecc simulate` says of the demo's plan beside what `stagecc run` does: samples/s and peak memory.

The layers are measured (`stagecc profile`) before and after every run, and both predict the very programs that run
between them: a machine whose speed drifts does the same to both sides. One and two stages have a core each; more share two.
  goal: both within 10 % (median of 5)
    bench/simulate.py [STAGES [ROUNDS]]      STAGES: 1 to 4, or 1,2; results/simulate.json keeps the rows of others
"""
import json
import re
import sys

import common

# As tools/demo trains it.
MODEL = ["examples/resnet/resnet.c", "-D", "DEPTH=152", "-D", "IMAGE=8", "-D", "CHANNELS=1", "-D", "CLASSES=10", "--batch", 64, "--micro-batches", 2,
         "--optimizer", "adamw", "--lr", 0.001, "--weight-decay", 0.05, "--lr-schedule", "cosine", "--warmup", 20]
DATA = ["--data", "idx:examples/digits/train", "--random-shift", 1]
CORES, STEPS = 2, 12


def stagecc(*words):
    return common.run([common.STAGECC, *words], cwd=common.SOURCE)


def profile(out):
    stagecc("profile", *MODEL, "--no-svg", "-o", out)
    return out


def predict(built, stages):
    """samples/s and bytes of every stage process, from a profile of this moment."""
    now, plan = common.WORK / "simulate/now", common.WORK / "simulate/plan"
    stagecc("plan", *MODEL, "--plan", built, "--profile", profile(now), "--no-svg", "-o", plan)
    told = json.loads(stagecc("simulate", plan, "--json", "--cores", CORES))
    return told["samples_per_s"], [s["peak_memory_bytes"] for s in told["stages"]]


def measure(built, stages):
    peaks = {}

    def watch(processes):
        for stage, pid in processes.items():
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{pid}/status").read())
            except OSError:
                continue
            if found:  # it has not ended
                peaks[stage] = 1024 * int(found[1])

    rates = common.step_rates(built, *DATA, "--steps", STEPS, watch=watch)
    return common.median(rates), [peaks[s] for s in range(stages)]


def worst(ratios):
    return max(ratios, key=lambda r: abs(r - 1))


def row(stages, rounds):
    built = common.WORK / f"simulate/{stages}"
    stagecc("build", *MODEL, "--stages", stages, "--profile", profile(common.WORK / "simulate/now"), "--no-svg", "-o", built)
    figures = common.sandwich(rounds, lambda: predict(built, stages), lambda: measure(built, stages))
    rates = [(before[0], done[0], after[0]) for before, done, after in figures]
    memory = [worst([t / d for t, d in zip(told[1], done[1])]) for told, done, _ in figures]
    return {"stages": stages, "cores": min(stages, CORES), "simulated_samples_per_s": [round((b + a) / 2, 1) for b, _, a in rates],
            "samples_per_s": [round(d, 1) for _, d, _ in rates], "simulated_by_run": round(1 / common.by_outer(rates), 3),
            "simulated_mib": [b >> 20 for b in figures[-1][0][1]], "mib": [b >> 20 for b in figures[-1][1][1]],
            "memory_simulated_by_run": round(common.median(memory), 3)}


def main():
    wanted = [int(s) for s in (sys.argv[1] if len(sys.argv) > 1 else "1,2,3,4").split(",")]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    rows = {r["stages"]: r for r in common.stored("simulate").get("rows", [])}
    rows.update({stages: row(stages, rounds) for stages in wanted})
    common.store("simulate", {"model": "ResNet-152 on digits, batch 64, 2 micro-batches", "rounds": rounds, "rows": [rows[s] for s in sorted(rows)]})
    print("stages cores simulated/s   run/s  ratio  memory, worst stage")
    for r in (rows[s] for s in sorted(rows)):
        print(f"{r['stages']:6} {r['cores']:5} {common.median(r['simulated_samples_per_s']):11.1f} {common.median(r['samples_per_s']):7.1f} "
              f"{r['simulated_by_run']:6.3f} {r['memory_simulated_by_run']:6.3f}")


main()
