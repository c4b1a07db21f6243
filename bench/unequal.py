#!/usr/bin/env python3
"""Two stages, the core of one of them half as fast (bench/slow.c): the equal split beside the plan for unequal devices.

The model is profiled on either core, devices.json says how much slower one is, and `stagecc build --devices` plans
for it. `stagecc simulate` tells what the plan gains over the equal split, whose second stage is the slow one.
  goal: the measured gain within 15 % of the simulated one
    bench/unequal.py [plan | train [ROUNDS]]    needs two cores, and the right to a real-time priority
"""
import json
import os
import subprocess
import sys

import common

MODEL = ["examples/resnet/resnet.c", "-D", "DEPTH=50", "-D", "IMAGE=8", "-D", "CHANNELS=1", "-D", "CLASSES=10", "--batch", 64, "--micro-batches", 4]
FAST, SLOW = 0, 1  # cores, and devices
STEPS, PROFILES = 14, 3
WORK = common.WORK / "unequal"


def stagecc(*words, core=None):
    on = ["taskset", "-c", core] if core is not None else []
    return common.run([*on, common.STAGECC, *words], cwd=common.SOURCE)


def work_s(core):
    """Seconds of one step on that core alone."""
    out = WORK / f"profile{core}"
    stagecc("profile", *MODEL, "--no-svg", "-o", out, core=core)
    layers = json.loads((out / "times.json").read_text())["layers"]
    forward, backward, update = (sum(layer[f"{k}_s"] for layer in layers) for k in ("forward", "backward", "update"))
    return 4 * (forward + backward) + update


def write_devices(speed):
    devices = [{"name": "fast", "host": "here", "speed": 1}, {"name": "slow", "host": "here", "speed": speed}]
    links = [{"from": "here", "to": "here", "bytes_per_s": 1e10}]  # of no weight where a model is planned
    (WORK / "devices.json").write_text(json.dumps({"devices": devices, "links": links}))
    return WORK / "devices.json"


def simulated(plan):
    return json.loads(stagecc("simulate", plan, "--json"))["samples_per_s"]


def stages(plan):
    return json.loads((plan / "plan.json").read_text())["stages"]


def measured(plan, built):
    """samples/s with every stage on the core of its device."""
    core = {s["id"]: s["devices"][0] for s in stages(plan)}

    def pin(processes):
        for stage, pid in processes.items():
            try:
                os.sched_setaffinity(pid, {core[stage]})
            except OSError:  # it has ended
                pass

    return common.median(common.step_rates(built, "--data", "idx:examples/digits/train", "--steps", STEPS, watch=pin))


EQUAL, UNEQUAL, AS_IT_IS = WORK / "equal", WORK / "unequal", WORK / "equal-on-devices"


def plan():
    """Both programs, and the equal split's plan as the devices are."""
    WORK.mkdir(parents=True, exist_ok=True)
    devices = write_devices(1 / common.by_outer(common.sandwich(PROFILES, lambda: work_s(FAST), lambda: work_s(SLOW))))
    times = ["--profile", WORK / f"profile{FAST}", "--no-svg"]
    stagecc("build", *MODEL, *times, "--stages", 2, "-o", EQUAL)
    stagecc("build", *MODEL, *times, "--devices", devices, "-o", UNEQUAL)
    stagecc("plan", *MODEL, *times, "--plan", EQUAL, "--devices", devices, "-o", AS_IT_IS)


def train(rounds):
    rates = common.sandwich(rounds, lambda: measured(AS_IT_IS, EQUAL), lambda: measured(UNEQUAL, UNEQUAL))
    told, gain = [simulated(AS_IT_IS), simulated(UNEQUAL)], common.by_outer(rates)
    speed = [d["speed"] for d in json.loads((WORK / "devices.json").read_text())["devices"]]
    common.store("unequal", {"model": "ResNet-50 on digits, batch 64, 4 micro-batches", "speeds": speed,
                             "layers_of_stages": [[s["last_unit"] - s["first_unit"] + 1 for s in stages(p)] for p in (EQUAL, UNEQUAL)],
                             "devices_of_stages": [[s["devices"][0] for s in stages(p)] for p in (AS_IT_IS, UNEQUAL)],
                             "simulated_samples_per_s": [round(t, 1) for t in told],
                             "samples_per_s": [[round((before + after) / 2, 1), round(middle, 1)] for before, middle, after in rates],
                             "simulated_gain": round(told[1] / told[0], 3), "gain": round(gain, 3), "ratio": round(told[1] / told[0] / gain, 3)})


def main():
    words = sys.argv[1:]
    with subprocess.Popen([common.STAGECC.parent / "bench/slow", str(SLOW)]) as slow:
        try:
            if words[:1] != ["train"]:
                plan()
            if words[:1] != ["plan"]:
                train(int(words[1]) if len(words) > 1 else 5)
        finally:
            slow.kill()


main()
