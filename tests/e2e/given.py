"""A master that people give plans: by `rescale --plan DIR`, or `master DIR` instead of a model. The losses and the last
checkpoint are those of a run that nobody disturbed.

  given.py STAGECC SCENARIO...
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cluster import Cluster, words

MODEL = """#include <stagecc/model.h>

MODEL(little)
{
    Tensor x = input("image", F32, 1, 8, 8);
    x = relu(batch_norm(conv2d(x, 8, .kernel = 3, .padding = 1, .bias = false)));
    x = relu(linear(dropout(flatten(x), RATE), 32));
    x = relu(linear(x, 32));
    loss(cross_entropy(linear(x, 10), target("label", I32)));
}
"""
OPTIONS = words("--batch", 24, "--micro-batches", 4, "--optimizer", "adam", "--isa", "avx2", "--backend", "ref", "-D", "RATE=0.2")
FIRST = "conv1"
CUTS = ("dropout1", "linear3")  # the first layers of the stages behind the first: no planner cuts there
ENDLESS = 100000  # steps: a scenario ends when it has seen what it is for


class Given(Cluster):
    def __init__(self, stagecc, folder, model, options=(), like=None):
        super().__init__(stagecc, folder, model=model, options=options, steps=ENDLESS, workers=(1, 4), rehearse=200, like=like)

    def build_cut(self, out, first_layers):
        """Programs that are cut in front of these layers."""
        self.run("plan", self.model, *self.options, "-n", len(first_layers) + 1, "--straight_pipeline", "--no-svg", "-o", f"{out}-plan")
        file = self.folder / f"{out}-plan" / "plan.json"
        plan = json.loads(file.read_text())
        names = [u["name"] for u in plan["units"]]
        begins = [0, *(names.index(layer) for layer in first_layers), len(names)]
        for stage, first, end in zip(plan["stages"], begins, begins[1:]):
            stage.update(first_unit=first, last_unit=end - 1, nodes=names[first:end])
        file.write_text(json.dumps(plan))
        self.run("build", self.model, *self.options, "--plan", file.parent, "--no-svg", "-o", out)
        return self.folder / out

    def start_workers(self, *all):
        for i in all:
            self.start_worker(i)

    def first_layers(self, s):
        return tuple(stage["first"] for stage in s["plan"]["stages"][1:]) if s["plan"] else ()

    def wait_cut(self, cuts):
        return self.wait(f"a cut at {cuts}", lambda s: s["phase"] == "running" and self.first_layers(s) == cuts)

    def wait_own(self, n):
        """A plan of the master's own, for so many."""
        return self.wait(f"a plan for {n}", lambda s: s["phase"] == "running" and s["plan"] and s["plan"]["name"].startswith(f"n{n}-"))

    def train(self, cuts):
        """A few steps with a plan that stays, each program on a worker of its own."""
        self.wait_step(self.wait_cut(cuts)["step"] + 4)
        s = self.wait_cut(cuts)
        workers = [stage["worker"] for stage in s["plan"]["stages"]]
        assert len(set(workers)) == len(workers), workers
        return s

    def wait_told(self, text):
        return self.wait(text, lambda s: any(text in e["text"] for e in s["events"]))

    def kill_worker(self, name):
        self.workers.pop(int(name[-1])).kill()
        self.wait(f"{name} is away", lambda s: not next(w["here"] for w in s["workers"] if w["name"] == name))

    def rescale(self, *all):
        """Programs are looked at before the answer, which may be late where everything is slow; what it does is seen."""
        try:
            super().rescale(*all)
        except AssertionError as e:
            if "no answer from a master" not in str(e):
                raise

    def refused(self, why, *all):
        done = subprocess.run(words(self.stagecc, "rescale", *all, "--master", f"{self.address}:{self.port}"), cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 1 and why in done.stderr, f"{all}: {done.returncode} {done.stderr}"

    def waits_for_three(self):
        self.wait("it waits", lambda s: s.get("waits", "").startswith("waiting for workers: it needs 3 programs at once, and there is room for 2"))


def worker_of(s, stage):
    return s["workers"][s["plan"]["stages"][stage]["worker"]]["name"]


def by_command(c):
    """To a cut of one's own and back, to fewer stages, and what it cannot be changed to."""
    made = c.folder / "made"
    c.start_master()
    c.start_workers(1, 2, 3)
    assert c.first_layers(c.wait_own(3)) != CUTS
    c.wait_step(3)
    c.rescale("--plan", made)
    c.train(CUTS)
    for i in (1, 2, 3):
        assert "programs of the next plan wait" in c.log(f"worker{i}").read_text(), f"worker{i} was never warm"
    c.start_worker(4)  # whoever joins changes nothing
    c.wait("worker4", lambda s: len(s["workers"]) == 4)
    c.train(CUTS)
    c.rescale("-n", 3)
    c.wait_own(3)
    c.rescale("--plan", "two")  # by its name from here
    c.train(("linear1",))
    c.rescale("-n", 2)  # as fast, and wanted all the same
    c.wait_own(2)
    c.rescale("--plan", made)
    c.kill_worker(worker_of(c.train(CUTS), 1))
    s = c.train(CUTS)  # there was one more
    c.kill_worker(worker_of(s, 2))
    c.wait_told("the plan that was given is over: it needs 3 programs at once, and there is room for 2")
    c.wait_own(2)

    def planned(out, *options, model=c.model):
        c.run("plan", model, *c.options, *options, "-n", 1, "--no-svg", "-o", out)
        return out
    other = c.folder / "other.c"
    other.write_text(MODEL.replace("(little)", "(other)"))
    c.refused("it needs 3 programs at once, and there is room for 2", "--plan", made)
    c.refused("it was built with --batch 48, and this job has --batch 24", "--plan", planned("larger", "--batch", 48))
    c.refused("it was built with --backend c, and this job has --backend ref", "--plan", planned("library", "--backend", "c"))
    c.refused("layers with other settings", "--plan", planned("changed", "-D", "RATE=0.3"))
    c.refused("it is of the model other, and this job trains little", "--plan", planned("other", model=other))
    c.refused("there is no program of stage 0", "--plan", planned("planned"))
    c.refused("there is no plan.json", "--plan", "nowhere")
    c.refused("needs one of", "--plan", made, "-n", 2)
    broken = c.folder / "broken"
    shutil.copytree(c.folder / "two", broken)
    shutil.copy(made / "stage1", broken)
    c.refused("its program of stage 1 is of another plan", "--plan", broken)
    number = re.search(r'plan_hash = "(\w+)"', (c.folder / "two" / "stage1.c").read_text())[1]
    (broken / "stage1").write_text(f"#!/bin/sh\n# {number}\nexit 1\n")
    c.rescale("--plan", broken)
    c.wait_told("its programs have failed 2 times without a step")
    c.wait_step(c.wait_own(2)["step"] + 3)


def begins(c):
    """It begins with the plan of the directory once there are workers for it; plans of the recorded model are made, too."""
    c.start_master()
    c.start_workers(1, 2)
    c.wait_stages(2)
    c.start_worker(3)
    c.train(CUTS)
    c.master.kill()
    c.master.wait()
    c.start_master()
    c.kill_worker(worker_of(c.train(CUTS), 1))
    c.wait_told("plans are made as usual")
    c.wait_stages(2)


def without_model(c):
    """It trains with that plan alone, and waits where there are too few workers for it."""
    c.start_master()
    c.start_workers(1, 2)
    c.waits_for_three()
    c.start_worker(3)
    c.train(CUTS)
    c.refused("there is no other plan", "-n", 2)
    c.kill_worker("worker2")
    c.waits_for_three()
    c.start_worker(2)
    c.train(CUTS)


def replicated(c):
    """A stage with replicas: the bits of `run`, whoever runs it."""
    ranks = (FIRST, json.loads((c.model / "plan.json").read_text())["stages"][1]["nodes"][0])
    c.start_master()
    c.start_workers(1, 2, 3, 4)
    c.kill_worker(worker_of(c.train(ranks), 0))
    c.train(ranks)


SCENARIOS = {f.__name__: f for f in (by_command, begins, without_model, replicated)}


class Test:
    """What scenarios share: the model, its programs by hand, and plans that a master has built."""

    def __init__(self, stagecc, folder):
        self.stagecc, self.folder = stagecc, folder
        self.model = folder / "little.c"
        self.model.write_text(MODEL)
        self.first = Given(stagecc, folder / "by_command", self.model, OPTIONS)
        self.made = self.first.build_cut("made", CUTS)
        self.first.build_cut("two", ("linear1",))
        self.first.run("build", self.model, *OPTIONS, "--stages", 1, "--no-svg", "-o", self.first.alone)

    def cluster(self, name):
        if name == "by_command":
            return self.first
        like = self.first if (self.first.folder / "journal").exists() else None
        c = Given(self.stagecc, self.folder / name, self.made, like=like)
        c.alone = self.first.alone
        if name == "without_model":
            self.model.unlink()
        if name == "replicated":
            self.model.write_text(MODEL)
            c.model = c.alone = c.folder / "programs"
            c.run("build", self.model, *OPTIONS, "--stage_to_num_ranks", "0:2,1:1", "--no-svg", "-o", c.model)
        return c


def main():
    stagecc, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        test = Test(stagecc, pathlib.Path(folder))
        for name in names or SCENARIOS:
            begin = time.monotonic()
            c = test.cluster(name)
            try:
                SCENARIOS[name](c)
                c.finish()
                c.check()
                print(f"{name}: the same bits, {time.monotonic() - begin:.0f} s", flush=True)
            finally:
                c.stop()


main()
