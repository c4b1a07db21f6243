#!/usr/bin/env python3
"""What computing again costs and saves: time and peak memory of programs with and without it, beside the compiler's table.

One stage, GPipe, so that every micro-batch is in flight. The layers are measured once; `always` computes the whole stage again,
`auto` as little as it takes to fit into three quarters of what the stage takes without.
  goal: seconds and bytes that are added and saved within 10 % of the table
    bench/recompute.py [ROUNDS]      5; results/recompute.json
"""
import json
import re
import sys

import common

MODELS = {
    "resnet50": (["examples/resnet/resnet.c", "-D", "DEPTH=50", "-D", "IMAGE=64", "-D", "CHANNELS=1", "-D", "CLASSES=10", "--batch", 64], ["--data", "idx:examples/digits/train"]),
    "gpt": (["examples/gpt/gpt.c", "-D", "LAYERS=6", "-D", "DIM=256", "-D", "T=128", "--batch", 16], ["--data", "text:README.md"]),
}
COMMON = ["--micro-batches", 4, "--schedule", "gpipe", "--stages", 1]
STEPS = 8


def build(name, model, how):
    out = common.build(f"recompute/{name}-{how[1]}", model[0], *model[1:], *COMMON, "--profile", common.WORK / f"recompute/{name}-profile", *how)
    return out, json.loads((out / "plan.json").read_text())["stages"][0]


def measure(out, data):
    """Seconds of a step, and the most bytes of the process."""
    peak = [0]

    def watch(processes):
        for pid in processes.values():
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{pid}/status").read())
            except OSError:
                continue
            peak[0] = max(peak[0], 1024 * int(found[1])) if found else peak[0]

    rates = common.step_rates(out, *data, "--steps", STEPS, watch=watch)
    batch = json.loads((out / "plan.json").read_text())["batch"]
    return batch / common.median(rates), peak[0]


def rows_of(name, rounds):
    model, data = MODELS[name]
    common.run([common.STAGECC, "profile", *model, "--micro-batches", 4, "--no-svg", "-o", common.WORK / f"recompute/{name}-profile"], cwd=common.SOURCE)
    never, plain = build(name, model, ["--recompute", "never"])
    limit = plain["memory_bytes"] * 3 // 4
    rows = []
    for how in (["--recompute", "always"], ["--recompute", "auto", "-s", limit]):
        out, stage = build(name, model, how)
        figures = common.interleave(rounds, lambda: measure(never, data), lambda: measure(out, data))
        rows.append({
            "model": name, "recompute": how[1], "nodes": len(stage["again"]),
            "planned_ms_more": round(4e3 * stage["again_s"], 1), "ms_more": round(1e3 * common.median([b[0] - a[0] for a, b in figures]), 1),
            "ms_without": round(1e3 * common.median([a[0] for a, _ in figures]), 1),
            "planned_mib_less": round(stage["again_bytes"] / 2**20, 1), "mib_less": round(common.median([a[1] - b[1] for a, b in figures]) / 2**20, 1),
            "mib_without": round(common.median([a[1] for a, _ in figures]) / 2**20, 1)})
    return rows


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows = [row for name in MODELS for row in rows_of(name, rounds)]
    common.store("recompute", {"schedule": "gpipe, one stage, 4 micro-batches", "rounds": rounds, "rows": rows})
    print("model     recompute  nodes  step ms  more: planned  measured   MiB  less: planned  measured")
    for r in rows:
        print(f"{r['model']:9} {r['recompute']:9} {r['nodes']:6} {r['ms_without']:8.1f} {r['planned_ms_more']:14.1f} {r['ms_more']:9.1f} "
              f"{r['mib_without']:5.0f} {r['planned_mib_less']:14.1f} {r['mib_less']:9.1f}")


main()
