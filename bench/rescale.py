"""Changes of plan while ResNet-152 trains on digits.

  rescale.py [STAGECC]

Pause of a change: the longest time between two committed steps around it, less the median step; and the same from the
command on, while programs are built and started beside those that run. A step: by the times of commits, from two steps
behind a change on, and again once the master compiles nothing (it shares the processors here, and gets ready for losses);
beside `stagecc simulate --cores` of the same plan, which knows of no copies either.
"""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from cluster import Cluster, words

STAGECC = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release/stagecc").resolve()
BATCH, STEPS, CHANGES, EACH = 32, 400, (2, 3, 2, 3, 2, 3), 12
OPTIONS = words("-D", "DEPTH=152", "-D", "IMAGE=8", "-D", "CHANNELS=1", "-D", "CLASSES=10", "--batch", BATCH, "--micro-batches", 4, "--optimizer", "sgd", "--momentum", 0.9, "--lr", 0.01)


def gaps(times, first, last):
    """Seconds of the steps behind the first, up to the last."""
    return [times[s] - times[s - 1] for s in range(first + 1, last + 1)]


def simulated(cluster, name):
    """Seconds of a step, on one host with this machine's cores."""
    cores = len(__import__("os").sched_getaffinity(0))
    out = json.loads(cluster.run("simulate", cluster.folder / "journal/plans" / name, "--cores", cores, "--json"))
    return out["step_s"]


def changes(c):
    rows = []
    for n in (3, *CHANGES):
        asked = c.status()["step"]
        if rows:
            c.rescale("-n", n)
        s = c.wait_stages(n, 900)
        begin = s["step"]
        c.wait_step(begin + EACH, 900)
        while c.builds():
            time.sleep(0.5)
        calm = c.status()  # a better plan may have followed
        rows.append((n, asked, begin, s["plan"]["name"], calm["step"], calm["plan"]["name"]))
        c.wait_step(calm["step"] + EACH, 900)
    times = {step: at for step, _, _, at in c.status()["history"]}
    print(f"{'stages':>6} {'from step':>9} {'pause s':>8} {'beside s':>8} {'step s':>7} {'calm s':>7} {'simulated':>9} {'ratios':>11}")
    pauses, besides = [], []
    for n, asked, begin, name, calm, later_name in rows:
        step = statistics.median(gaps(times, begin + 2, begin + EACH))
        pause = max(gaps(times, max(begin - 2, 1), begin + 2)) - step if begin > 3 else 0
        beside = max(gaps(times, max(asked, 1), begin + 2)) - step if begin > 3 else 0
        pauses += [pause] if begin > 3 else []
        besides += [beside] if begin > 3 else []
        later = statistics.median(gaps(times, calm + 1, calm + EACH))
        sim = simulated(c, name)
        ratios = f"{sim / step:5.2f} {simulated(c, later_name) / later:5.2f}"
        print(f"{n:6} {begin:9} {pause:8.2f} {beside:8.2f} {step:7.2f} {later:7.2f} {sim:9.2f} {ratios}")
    print(f"pause of a change: median {statistics.median(pauses):.2f} s, most {max(pauses):.2f} s, of {len(pauses)}; from the command on: median {statistics.median(besides):.2f} s")


def main():
    with tempfile.TemporaryDirectory() as folder:
        c = Cluster(STAGECC, pathlib.Path(folder) / "rescale", model=ROOT / "examples/resnet/resnet.c", steps=STEPS, data=f"idx:{ROOT}/examples/digits/train", options=OPTIONS)
        c.ask_every_s = 0.5  # to ask takes time of the processors, too
        try:
            c.start_master()
            for i in (1, 2, 3):
                c.start_worker(i)
            changes(c)
        finally:
            c.stop()
            for name in ("master", "worker1"):
                print("\n".join(l for l in c.log(name).read_text().splitlines() if "pause" in l or "warm" in l or "wait" in l), file=sys.stderr)


main()
