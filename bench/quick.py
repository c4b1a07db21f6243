#!/usr/bin/env python3
"""How long the compiler keeps a user waiting.

  check of resnet152                    goal: < 0.1 s
  resnet152 to three executables        goal: < 10 s
  start of a stage program to step 1    goal: < 2 s, the first step's own time taken off
    bench/quick.py [ROUNDS]
"""
import json
import sys
import time

import common

RESNET = ["examples/resnet/resnet.c", "-D", "DEPTH=152", "-D", "IMAGE=224", "-D", "CHANNELS=3", "-D", "CLASSES=1000"]
DIGITS = ["examples/resnet/resnet.c", "-D", "DEPTH=152", "-D", "IMAGE=8", "-D", "CHANNELS=1", "-D", "CLASSES=10"]


def timed(command):
    begin = time.monotonic()
    common.run(command, cwd=common.SOURCE)
    return time.monotonic() - begin


def start_seconds(out):
    log = out / "log.json"
    command = [common.STAGECC, "run", out, "--data", "idx:examples/digits/train", "--steps", 1, "--log-json", log]
    whole = timed(command)
    step = json.loads(log.read_text().splitlines()[0])
    return whole - 32 / step["samples_per_s"]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    out = common.WORK / "quick"
    check = [timed([common.STAGECC, "check", *RESNET]) for _ in range(rounds)]
    build = [timed([common.STAGECC, "build", *RESNET, "--stages", 3, "--batch", 8, "--micro-batches", 4, "-o", out]) for _ in range(3)]
    common.run([common.STAGECC, "build", *DIGITS, "--stages", 3, "-o", out], cwd=common.SOURCE)
    start = [start_seconds(out) for _ in range(rounds)]
    common.store("quick", {"check_resnet152_s": round(common.median(check), 4), "resnet152_to_three_executables_s": round(common.median(build), 2),
                           "start_to_training_s": round(common.median(start), 2)})


main()
