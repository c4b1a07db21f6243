#!/usr/bin/env python3
"""ResNet-50, batch 16, 224 x 224, float32: images/s beside PyTorch's, and what is not convolution.

  goal: >= 1.1 x PyTorch on one thread, >= 1.2 x on two; all but the convolutions <= 15 % of their time
    bench/resnet50.py [ROUNDS [STEPS]]
"""
import json
import sys

import against_torch
import common

MODEL, DATA = "examples/resnet/resnet.c", "synthetic"
OPTIONS = ["-D", "DEPTH=50", "-D", "IMAGE=224", "-D", "CLASSES=1000", "--batch", 16]


def beside_convolutions(program, steps):
    """Seconds of a step that are not in layers of convolutions, by the seconds that are: medians over
    the steps of one run, whose clock stops between the layers."""
    times, trace = program.parent / "times.json", program.parent / "trace.json"
    common.run([program, "--data", DATA, "--steps", steps, "--profile", times, "--trace", trace])
    layers = json.loads(times.read_text())["layers"]
    convolutions = sum(l["forward_s"] + l["backward_s"] for l in layers if "conv" in l["name"].split(".")[-1])
    spent = {}
    for event in json.loads(trace.read_text())["traceEvents"]:
        if event["ph"] == "X":
            spent.setdefault(event["name"], []).append(event["dur"] * 1e-6)
    step = sum(common.median(d) for d in spent.values())
    return (step - convolutions) / convolutions


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 6
    figures, programs = against_torch.compare("resnet50", MODEL, DATA, OPTIONS, 16, "images", rounds, steps)
    for threads, program in programs.items():
        key = f"{threads} thread" + "s" * (threads > 1)
        figures[key]["all_but_convolutions"] = round(common.median([beside_convolutions(program, steps + 2) for _ in range(3)]), 3)
    common.store("resnet50", {"model": "ResNet-50, batch 16, 224 x 224, float32", **figures})


main()
