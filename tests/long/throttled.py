"""A worker gets half of its processor time in the middle of a run: it gets less to do, without a command; later it gets all of it back.

  throttled.py STAGECC SOURCE_DIR

Each worker has a control group with a share of a core, so that three of them are three machines on two cores; the master, which
builds programs, has what they leave. None of them waits for anything else on this machine.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from cluster import Cluster, words

STAGECC, SOURCE = sys.argv[1:]
SHARE, PERIOD_US = 0.5, 10000  # of a core
STEPS = int(os.environ.get("STEPS", 560))
# Much to compute, in many small layers, and few parameters to copy.
MODEL = """#include <stagecc/model.h>

MODEL(chain)
{
    Tensor x = input("image", F32, 1, 32, 32);
    for (int i = 0; i < 24; i++)
        x = relu(batch_norm(conv2d(x, 16, .kernel = 3, .padding = 1, .bias = false)));
    loss(cross_entropy(linear(flatten(max_pool2d(x, .kernel = 8, .stride = 8)), 10), target("label", I32)));
}
"""
OPTIONS = ["--batch", 96, "--micro-batches", 8, "--isa", "avx2"]


class Groups:
    """Control groups of the cpu controller, version 1 or 2."""

    def __init__(self, names):
        one, two = pathlib.Path("/sys/fs/cgroup/cpu"), pathlib.Path("/sys/fs/cgroup")
        self.old = (one / "cpu.cfs_quota_us").exists() or (one / "cpu.shares").exists()
        self.root = (one if self.old else two) / f"stagecc-{os.getpid()}"
        try:
            if not self.old:
                (two / "cgroup.subtree_control").write_text("+cpu")
            self.root.mkdir()
            if not self.old:
                (self.root / "cgroup.subtree_control").write_text("+cpu")
            for name in names:
                (self.root / name).mkdir()
            self.names = names
            self.first(self.root)
        except OSError as e:
            print(f"throttled: skipped: no control groups for processors here: {e}")
            sys.exit(77)

    def first(self, group):
        """Before everybody else on this machine."""
        if self.old:
            (group / "cpu.shares").write_text("262144")
        else:
            (group / "cpu.weight").write_text("10000")

    def limit(self, name, share):
        group = self.root / name
        if self.old:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(int(share * PERIOD_US)))
        else:
            (group / "cpu.max").write_text(f"{int(share * PERIOD_US)} {PERIOD_US}")

    def close(self):
        for name in self.names:
            (self.root / name).rmdir()
        self.root.rmdir()


class Machines(Cluster):
    groups = None

    def on_host(self, name, command):
        if name not in self.groups.names:
            return command
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.groups.root / name / "cgroup.procs"), *command]


def steps_and_time(c, steps):
    """Seconds a step, over so many."""
    a = c.status()
    b = c.wait_step(a["step"] + steps, 300)
    return (b["now"] - a["now"]) / (b["step"] - a["step"])


def show(s):
    names = [w["name"] for w in s["workers"]]
    return ", ".join(f"{names[t['worker']]}: {t['first']}..{t['last']} {t['predicted_s']:.3f} busy {t['busy_s']:.3f}" for t in s["plan"]["stages"])


def best_step(c, speeds):
    """What the planner makes of machines with these speeds: its seconds a step."""
    folder = c.folder / ("best" + "-".join(map(str, speeds)))
    folder.mkdir(exist_ok=True)
    old = json.loads(next((c.folder / "journal" / "plans").glob("n3-*/devices.json")).read_text())
    for device, speed in zip(old["devices"], speeds):
        device["speed"] = speed
    (folder / "devices.json").write_text(json.dumps(old))
    c.run("build", c.model, *c.options, f"--profile={c.folder}/journal/profile", "--parts=64", f"--devices={folder}/devices.json", "--no-svg", "-o", folder)
    plan = json.loads((folder / "plan.json").read_text())
    return plan["step_s"] if "step_s" in plan else plan["step"]


def changes(c):
    return [e["text"] for e in c.status()["events"] if " from step " in e["text"]]


def wait_change(c, before, name):
    """A new epoch without a command, and the first step of it."""
    s = c.wait(name, lambda s: s["phase"] == "running" and s["epoch"] > before["epoch"] and s["step"] > before["step"], 240)
    begun = next(e["text"] for e in reversed(s["events"]) if " from step " in e["text"])
    step = int(begun.split("from step ")[1].split(":")[0])
    print(f"{name}: {step - before['step']} steps until it was planned again ({s['now'] - before['now']:.1f} s): {show(s)}", flush=True)
    return step - before["step"]


def main():
    workers = ["worker1", "worker2", "worker3"]
    groups = Groups(["master", *workers])
    with tempfile.TemporaryDirectory() as folder:
        Machines.groups = groups
        for name in workers:
            groups.limit(name, SHARE)
        model = pathlib.Path(folder) / "chain.c"
        model.write_text(MODEL)
        c = Machines(STAGECC, folder, model=model, steps=STEPS, options=OPTIONS)
        try:
            c.start_master()
            for i in (1, 2, 3):
                c.start_worker(i)
            s = c.wait_stages(3, 200)
            c.wait_step(30, 200)
            equal = steps_and_time(c, 20)
            s = c.status()
            print(f"equal: {equal:.3f} s a step; {show(s)}", flush=True)
            slow = next(w["name"] for w in s["workers"] if w["worker"] == s["plan"]["stages"][1]["worker"])
            before = c.status()
            groups.limit(slow, SHARE / 2)
            print(f"{slow} gets half", flush=True)
            wait_change(c, before, "slower")
            time.sleep(5)
            halved = steps_and_time(c, 30)
            print(f"after it: {halved:.3f} s a step; {show(c.status())}", flush=True)
            before = c.status()
            groups.limit(slow, SHARE)
            wait_change(c, before, "released")
            time.sleep(5)
            after = steps_and_time(c, 30)
            print(f"after it: {after:.3f} s a step; {show(c.status())}", flush=True)
            calm = c.status()
            s = c.wait_step(min(calm["step"] + 200, STEPS - 5), 400)
            n = s["epoch"] - calm["epoch"]
            print(f"{n} changes in {s['step'] - calm['step']} steps at steady speeds", flush=True)
            print("\n".join(e["text"] for e in s["events"]))
            best = [best_step(c, speeds) for speeds in ((1, 1, 1), (1, 1, 0.5))]
            print(f"planned for equal ones {best[0]:.4f} s a step, for 1, 1, 0.5 {best[1]:.4f}: {best[1] / best[0]:.2f} times as long; measured {halved / equal:.2f} times: "
                  f"{100 * best[1] / best[0] * (equal + after) / 2 / halved:.0f} % of the optimum ({equal:.3f} s before, {after:.3f} s behind)")
            c.wait_end(seconds=600)
            c.check()
        finally:
            c.stop()
            time.sleep(0.5)
            groups.close()


main()
