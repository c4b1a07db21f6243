#!/usr/bin/env python3
"""bf16 beside f32: samples/s, and memory as the compiler's table says and as the process takes it, of ResNet-50
(batch 16, 224 x 224) and of a GPT (12 blocks, 768 features, 128 tokens, batch 4), in 1 and in 4 micro-batches.

    bench/bf16.py [ROUNDS [STEPS]]
"""
import json
import pathlib
import re
import sys

import common

RESNET50 = ("examples/resnet/resnet.c", "synthetic", "-D DEPTH=50 -D IMAGE=224 -D CLASSES=1000 --batch 16")
GPT = ("examples/gpt/gpt.c", f"text:{common.SOURCE / 'docs/ir.md'}", "-D LAYERS=12 -D DIM=768 -D HEADS=12 -D T=128 --batch 4")
MODELS = {"resnet50": (*RESNET50, 1), "resnet50, 4 micro-batches": (*RESNET50, 4), "gpt": (*GPT, 1), "gpt, 4 micro-batches": (*GPT, 4)}


class Program:
    def __init__(self, model, dtype, options, micro_batches):
        out = f"bf16/{pathlib.Path(model).stem}-{micro_batches}-{dtype}"
        self.out = common.build(out, model, "--stages", 1, "--dtype", dtype, "--micro-batches", micro_batches, *options.split())
        self.table = json.loads((self.out / "plan.json").read_text())["stages"][0]
        self.peak = 0

    def watch(self, pids):
        for pid in pids.values():
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{pid}/status").read())
            except OSError:  # it has ended
                continue
            self.peak = max(self.peak, 1024 * int(found[1]) if found else 0)

    def rate(self, data, steps):
        return common.median(common.step_rates(self.out, "--data", data, "--steps", steps, watch=self.watch))

    def memory(self):
        table, mib = self.table, lambda n: round(n / 2**20, 1)
        return {"parameters_mib": mib(table["persistent_bytes"]), "activations_mib": mib(table["in_flight"] * table["slot_bytes"]),
                "scratch_mib": mib(table["scratch_bytes"]), "library_mib": mib(table["library_bytes"]),
                "table_mib": mib(table["memory_bytes"]), "process_mib": mib(self.peak)}


def compare(rounds, steps, model, data, options, micro_batches):
    narrow, wide = (Program(model, dtype, options, micro_batches) for dtype in ("bf16", "f32"))
    rates = common.interleave(rounds, lambda: narrow.rate(data, steps), lambda: wide.rate(data, steps))
    bf16, f32 = (round(common.median(side), 3) for side in zip(*rates))
    return {"samples_per_s": {"bf16": bf16, "f32": f32, "ratio": round(common.ratio(rates), 3)},
            "memory": {"bf16": narrow.memory(), "f32": wide.memory()}}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    common.store("bf16", {name: compare(rounds, steps, *what) for name, what in MODELS.items()})


main()
