"""Gradients travel while backward goes on: what traces of runs and of the simulator show.

  overlap.py STAGECC SOURCE_DIR
"""
import json
import pathlib
import subprocess
import sys
import tempfile

STAGECC, SOURCE = sys.argv[1:]
STEPS = 3


def stagecc(*words):
    done = subprocess.run([STAGECC, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def works(trace, rank_of):
    """{(rank, step): names of what is no message, in order, no two overlapping}"""
    found, ends = {}, {}
    for e in sorted((e for e in json.loads(trace.read_text())["traceEvents"] if e.get("cat") == "work"), key=lambda e: e["ts"]):
        rank = rank_of(e)
        assert e["ts"] >= ends.get(rank, 0) - 0.01, f"two at once: {e}"
        ends[rank] = e["ts"] + e["dur"]
        found.setdefault((rank, e["args"]["step"]), []).append(e["name"])
    return found


def check(work, ranks, adders, schedule="1f1b"):
    """adders: (stage, replica) that add up within the last pass of a step."""
    out, pass_name = work / (ranks + schedule), "backward_weight" if schedule == "zb-h1" else "backward"
    stagecc("build", f"{SOURCE}/tests/e2e/wide.c", "--stage_to_num_ranks", ranks, "--batch", 32, "--micro-batches", 4, "--schedule", schedule, "--isa", "avx2",
            "--no-svg", "-o", out)
    stagecc("run", out, "--data", f"idx:{SOURCE}/examples/digits/train", "--steps", STEPS, "--trace", out / "run.json")
    stagecc("simulate", out, "--steps", STEPS, "--trace", out / "simulated.json")
    plan = json.loads((out / "plan.json").read_text())
    rank_of = {(r["stage"], r["replica"]): i for i, r in enumerate(plan["ranks"])}
    ran = works(out / "run.json", lambda e: rank_of[e["pid"], e["tid"]])
    simulated = works(out / "simulated.json", lambda e: e["tid"])
    for (stage, replica), rank in rank_of.items():
        parts = len(plan["stages"][stage].get("part_units", []))
        for step in range(1, STEPS + 1):
            names = ran[rank, step]
            timed = [n for n in names if n not in ("load", "update")]
            expected = [n for n in simulated[rank, step] if n not in ("load", "update")]
            assert timed == expected, f"{ranks}, rank {rank}: {timed}, simulated {expected}"
            last = len(names) - 1 - names[::-1].index(pass_name)
            assert names.count("backward_part") == max(parts - 1, 0), names
            if parts < 2:
                continue
            within = names[names.index("backward_part") + 1 : last]
            assert "reduce_put" in within, f"{ranks}, rank {rank}: nothing is given away within {pass_name}: {names}"
            assert ("reduce_sum" in within) == ((stage, replica) in adders), f"{ranks}, rank {rank}: {names}"
    print(f"{ranks}, {schedule}: {len(plan['stages'][0].get('part_units', []))} parts of backward in stage 0")


with tempfile.TemporaryDirectory() as folder:
    check(pathlib.Path(folder), "0:2", {(0, 0), (0, 1)})
    check(pathlib.Path(folder), "0:2,1:1", {(0, 1)})
    check(pathlib.Path(folder), "0:3,1:1", {(0, 0)})
    check(pathlib.Path(folder), "0:2,1:1", {(0, 1)}, "zb-h1")
