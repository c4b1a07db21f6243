#!/usr/bin/env python3
"""The reference planner's plans beside ours, both in the cost model `stagecc`; and how far ours may be from the best.

bench/plans.c plans every public profile (they lie beside the sources, not in them) on flat machines and hierarchies, by
PipeDream's recurrence as it is, with transfers counted (--activation_compression_ratio 1), and for straight pipelines.
    bench/plans.py             writes results/plans.json and results/plans.md; exit 1: ours is worse somewhere
"""
import json
import math
import sys

import common

PROGRAM = common.STAGECC.parent / "bench/plans"

PAGE = """# Plans beside the reference's (written by bench/plans.py)
PipeDream's optimizer decides, by its recurrence as published (`tests/planner/test_reference.c`), and its plan is evaluated
in the cost model `stagecc`, in which ours is made. A gain of 2 means that ours is twice as fast there. It decides as it does by
default (activation transfers ignored), with `--activation_compression_ratio 1` (counted), and for straight pipelines,
which ours then are, too. inception_v3 and nasnetamobile have too many cuts for it. Links between servers are one NIC a
server.

Geometric mean over the profiles (least to most):

{gains}
{means}
How far ours may be from the best: time / lower_bound_s - 1, largest over the machines above.

{gaps}"""


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def machines(row):
    return " ".join(map(str, row["machines"])) + " at " + " ".join(f"{b:g}".replace("e+", "e") for b in row["bandwidths"])


def gain(row):
    return row["reference_s"] / row["ours_s"]


def gap(row):
    return row["ours_s"] / row["lower_bound_s"] - 1


def summary(rows):
    """Gains of one variant: mean, least, most and how many."""
    gains = [gain(r) for r in rows if "reference_s" in r]
    return {"rows": len(gains), "mean": round(geometric_mean(gains), 4), "least": round(min(gains), 4), "most": round(max(gains), 2),
            "better": sum(g > 1 + 1e-9 for g in gains), "worse": sum(g < 1 - 1e-9 for g in gains)}


def table(head, lines):
    rows = ["| " + " | ".join(map(str, line)) + " |" for line in [head, *lines]]
    return "\n".join([rows[0], "|---" * len(head) + "|", *rows[1:]]) + "\n"


def gains_table(rows, variants):
    places = list(dict.fromkeys(map(machines, rows)))
    lines = []
    for place in places:
        line = [place]
        for variant in variants:
            gains = [gain(r) for r in rows if machines(r) == place and r["variant"] == variant and "reference_s" in r]
            line.append(f"{geometric_mean(gains):.3f} ({min(gains):.3f} to {max(gains):.2f})")
        lines.append(line)
    return table(["machines", *variants], lines)


def gaps_table(rows):
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        kinds = {(straight, flat): [r for r in rows if r["model"] == model and (r["variant"] == "straight") == straight
                                    and (len(r["machines"]) == 1) == flat] for straight in (False, True) for flat in (False, True)}
        flat = kinds[False, True] + kinds[True, True]
        lines.append([model, f"{sum(r['exact'] for r in flat)} of {len(flat)}",
                      *(f"{100 * max(map(gap, kinds[k])):.3g} %" for k in ((False, True), (True, True), (False, False), (True, False)))])
    return table(["profile", "flat: proven best", "flat: largest gap", "flat, straight", "hierarchies: largest gap", "hierarchies, straight"], lines)


def stored(rows):
    """A row for every profile and machines: ours once, the reference's by variant."""
    kept = {}
    for r in rows:
        row = kept.setdefault((r["model"], machines(r)), {"model": r["model"], "machines": r["machines"], "bandwidths": r["bandwidths"]})
        kind = "straight" if r["variant"] == "straight" else "ours"
        row[kind] = {k: float(f"{r[k]:.9g}") for k in ("ours_s", "lower_bound_s")} | {"exact": r["exact"], "stages": r["stages"],
                                                                                     "machines_used": r["machines_used"]}
        row[f"reference, {r['variant']}"] = float(f"{r['reference_s']:.9g}") if "reference_s" in r else r["reference_failed"]
    return list(kept.values())


def main():
    rows = [json.loads(line) for line in common.run([PROGRAM]).splitlines()]
    variants = list(dict.fromkeys(r["variant"] for r in rows))
    by_variant = {f"{v}, {kind}": summary([r for r in rows if r["variant"] == v and (len(r["machines"]) == 1) == (kind == "flat")])
                  for v in variants for kind in ("flat", "hierarchies")}
    common.RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"date": common.time.strftime("%Y-%m-%d"), "gains": by_variant, "rows": []}, indent=1)
    lines = ",\n".join("  " + json.dumps(r) for r in stored(rows))
    (common.RESULTS / "plans.json").write_text(text.replace('"rows": []', '"rows": [\n' + lines + "\n ]") + "\n")
    means = table(["variant", "plans", "mean gain", "least", "most", "ours better", "worse"],
                  [[v, *(s[k] for k in ("rows", "mean", "least", "most", "better", "worse"))] for v, s in by_variant.items()])
    page = PAGE.format(gains=gains_table(rows, variants), means=means, gaps=gaps_table(rows))
    (common.RESULTS / "plans.md").write_text(page)
    print(page)
    for row in rows:
        if "ours_s" not in row or ("reference_s" in row and gain(row) < 1 - 1e-9):
            print(f"worse: {row['model']} on {machines(row)}, {row['variant']}: {row.get('ours_s')} beside {row.get('reference_s')}")
    sys.exit(any(s["worse"] for s in by_variant.values()))


main()
