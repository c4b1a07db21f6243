#!/usr/bin/env python3
"""How long planning takes: the whole process, `stagecc plan GRAPH … --json --no-svg`, medians by hyperfine.

Parts: `goals` (the public profiles, which lie beside the sources, and large graphs of bench/graphs.py, beside what was
aimed at), `layers` and `devices` (growth).
    bench/planning.py [PART…]   measures these parts, or all, and writes results/planning.json, .md and .svg; parts that are not
                                measured keep their figures. Exit 1: a goal is missed.
"""
import json
import math
import subprocess
import sys

import common
import graphs

PROFILES = common.SOURCE.parent / "shared/data/profiles"
PARTS = ("goals", "layers", "devices")
SLOW = ("inception_v3", "nasnetamobile")  # those with very many cuts
RUNS = 9

PAGE = """# How long planning takes (written by bench/planning.py)
`stagecc plan GRAPH … --json --no-svg`, whole process, median of {runs} runs by hyperfine, {date}. Chains and branching graphs
(`dag`: residual blocks, inception blocks, NASNet cells) are those of `bench/graphs.py`.

{goals}
![growth](planning.svg)

A thousand layers or a thousand devices, and more of the other, ms; flat at 1e9 bytes/s, three levels at 1e11, 1e10 and 1e9:

{layers}
{devices}"""


def generated(kind, layers, seed=1):
    path = common.WORK / f"planning/{kind}{layers}.{seed}.graph.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text({"chain": graphs.chain, "dag": graphs.dag}[kind](layers, seed))
    return path


def case(graph, sizes, bandwidths, **what):
    """A row to be measured; it keeps `what`."""
    return {"graph": graph, "sizes": list(sizes), "bandwidths": list(bandwidths), **what}


def goals():
    rows = []
    profiles = sorted(PROFILES.glob("*.graph.txt"))
    if not profiles:
        print(f"{PROFILES} has no profiles: only generated graphs are measured")
    for path in profiles:
        name = path.name.split(".")[0]
        rows += [case(path, [16], [b], name=name, goal_s=1 if name in SLOW else 0.05) for b in ("1e9", "1e10")]
        if name == "resnet101":
            rows.append(case(path, [4, 4], ["1e10", "1e9"], name=name, goal_s=0.1))
    chain = generated("chain", 1000)
    rows += [case(chain, [1024], [b], name="chain of 1,000", goal_s=0.1) for b in ("1e9", "1e10")]
    rows.append(case(chain, [8, 16, 8], ["1e11", "1e10", "1e9"], name="chain of 1,000", goal_s=1))
    for kind, name, seeds in (("chain", "chain of 13,000", (1,)), ("dag", "dag of 13,000", (1, 2))):
        for seed in seeds:
            rows += [case(generated(kind, 13000, seed), [1024], [b], name=name + (f", seed {seed}" if len(seeds) > 1 else ""), goal_s=1)
                     for b in ("1e8", "1e9", "1e10")]
    return rows


def layers():
    return [case(generated(kind, n), [1024], ["1e9"], line=kind, x=n) for kind in ("chain", "dag") for n in (10, 30, 100, 300, 1000, 3000, 13000)]


def three_levels(n):
    """Machines as three sizes that are as alike as powers of two can be."""
    bits = n.bit_length() - 1
    return [2 ** ((bits + i) // 3) for i in (0, 1, 2)]


def devices():
    rows = []
    for kind in ("chain", "dag"):
        graph = generated(kind, 1000)
        rows += [case(graph, [4**i], ["1e9"], line=f"{kind}, flat", x=4**i) for i in range(7)]
        rows += [case(graph, three_levels(8**i), ["1e11", "1e10", "1e9"], line=f"{kind}, three levels", x=8**i) for i in range(1, 5)]
    return rows


def measure(rows):
    """Adds seconds to every row and drops the path."""
    if not rows:
        return rows
    out = common.WORK / "planning"
    out.mkdir(parents=True, exist_ok=True)
    commands = [" ".join(map(str, [common.STAGECC, "plan", r["graph"], "-n", *r["sizes"], "-b", *r["bandwidths"], "--json", "--no-svg", "-o", out / "plan"]))
                for r in rows]
    subprocess.run(["hyperfine", "-N", "--style", "none", "--warmup", "1", "--runs", str(RUNS), "--export-json", out / "times.json", *commands],
                   check=True)
    for row, result in zip(rows, json.loads((out / "times.json").read_text())["results"]):
        row["seconds"] = round(result["median"], 5)
        row["user_s"] = round(result["user"], 5)
        del row["graph"]
    return rows


def table(head, lines):
    rows = ["| " + " | ".join(map(str, line)) + " |" for line in [head, *lines]]
    return "\n".join([rows[0], "|---" * len(head) + "|", *rows[1:]]) + "\n"


def ms(seconds):
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def goals_table(rows):
    places = [" ".join(map(str, r["sizes"])) + " at " + " ".join(r["bandwidths"]) for r in rows]
    return table(["graph", "machines", "ms", "goal, ms", ""],
                 [[r["name"], place, ms(r["seconds"]), f"{r['goal_s'] * 1e3:.0f}", "" if r["seconds"] < r["goal_s"] else "**missed**"]
                  for r, place in zip(rows, places)])


def growth_table(what, rows):
    lines = list(dict.fromkeys(r["line"] for r in rows))
    xs = sorted({r["x"] for r in rows})
    at = {(r["line"], r["x"]): ms(r["seconds"]) for r in rows}
    return table([what, *(f"{x:,}" for x in xs)], [[line, *(at.get((line, x), "") for x in xs)] for line in lines])


COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito's, which the colour-blind tell apart
WIDTH, HEIGHT, LEFT, TOP = 330, 260, 60, 40


def panel(rows, title, left):
    """One drawing of seconds over x, both by powers of ten, the names of the lines at the bottom left, where none is: a process takes longer to start."""
    low, high = -3, math.ceil(math.log10(max(r["seconds"] for r in rows)))
    right = math.log10(max(r["x"] for r in rows))

    def at(x, seconds):
        return f"{left + math.log10(x) / right * WIDTH:.1f}", f"{TOP + HEIGHT * (high - math.log10(seconds)) / (high - low):.1f}"

    def text(x, y, words, anchor, more=""):
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>{words}</text>'

    bottom = TOP + HEIGHT
    parts = [text(left + WIDTH / 2, 20, title, "middle", ' font-weight="bold"')]
    for e in range(low, high + 1):
        y = at(1, 10.0**e)[1]
        parts += [f'<line x1="{left}" y1="{y}" x2="{left + WIDTH}" y2="{y}" class="grid"/>',
                  text(left - 6, float(y) + 4, f"{10**e:g} s" if e >= 0 else f"{10**(e + 3):g} ms", "end")]
    for e in range(int(right) + 1):
        x = at(10**e, 1)[0]
        parts += [f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}" class="grid"/>', text(x, bottom + 16, f"{10**e:,}", "middle")]
    for i, line in enumerate(dict.fromkeys(r["line"] for r in rows)):
        points = [at(r["x"], r["seconds"]) for r in rows if r["line"] == line]
        parts += [f'<polyline points="{" ".join(map(",".join, points))}" fill="none" stroke="{COLORS[i]}" stroke-width="2"/>',
                  *(f'<circle cx="{x}" cy="{y}" r="3" fill="{COLORS[i]}"/>' for x, y in points),
                  text(left + 8, bottom - 8 - 15 * i, line, "start", f' fill="{COLORS[i]}"')]
    return parts


def drawing(parts):
    panels = [panel(parts["layers"], "layers, on 1,024 devices", LEFT), panel(parts["devices"], "devices, for 1,000 layers", 2 * LEFT + WIDTH + 20)]
    width, height = 2 * (LEFT + WIDTH) + 40, TOP + HEIGHT + 30
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
                      "<style>.grid{stroke:#ddd}</style>", f'<rect width="{width}" height="{height}" fill="#fff"/>', *sum(panels, []), "</svg>"]) + "\n"


def main():
    wanted = sys.argv[1:] or PARTS
    path = common.RESULTS / "planning.json"
    parts = json.loads(path.read_text()) if path.exists() else {}
    for part in wanted:
        parts[part] = measure({"goals": goals, "layers": layers, "devices": devices}[part]())
    parts |= {"date": common.time.strftime("%Y-%m-%d"), "machine": common.machine(), "runs": RUNS}
    head = {k: parts[k] for k in ("date", "machine", "runs")}
    body = ",\n".join(f' "{k}": [\n' + ",\n".join("  " + json.dumps(r) for r in parts[k]) + "\n ]" for k in PARTS if k in parts)
    path.write_text(json.dumps(head, indent=1)[:-2] + ",\n" + body + "\n}\n")
    if not all(k in parts for k in PARTS):
        return
    (common.RESULTS / "planning.svg").write_text(drawing(parts))
    page = PAGE.format(runs=RUNS, date=parts["date"], goals=goals_table(parts["goals"]), layers=growth_table("layers", parts["layers"]),
                       devices=growth_table("devices", parts["devices"]))
    (common.RESULTS / "planning.md").write_text(page)
    print(page)
    sys.exit(any(r["seconds"] >= r["goal_s"] for r in parts["goals"]))


main()
