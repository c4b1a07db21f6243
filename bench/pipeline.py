#!/usr/bin/env python3
"""How close two balanced stages on two cores come to the schedule's own bound M/(M+S-1).

Equal linear layers in one stage of one thread and in two; efficiency = (time of one / time of two)
divided by the ideal speed-up S M/(M+S-1). Goal: >= 0.95 for instructions of 1 ms and more.
    bench/pipeline.py [ROUNDS]
"""
import sys

import common

STAGES, STEPS = 2, 12


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    figures = []
    for micro_batches in (4, 8, 16):
        options = ["-D", "WIDTH=1024", "-D", "DEPTH=16", "--batch", 128 * micro_batches, "--micro-batches", micro_batches, "--lr", 0.001]
        outs = [common.build(f"pipeline-{micro_batches}-{n}", "bench/models/chain.c", *options, "--stages", n) for n in (1, STAGES)]
        rates = common.interleave(rounds, *(lambda out=out: common.median(common.step_rates(out, "--data", "synthetic", "--steps", STEPS)) for out in outs))
        ideal = STAGES * micro_batches / (micro_batches + STAGES - 1)
        speed_up = common.ratio(rates, 1, 0)
        one = common.median([r[0] for r in rates])
        figures.append({"micro_batches": micro_batches, "instruction_ms": round(1e3 * 128 / one / 2 / STAGES, 2), "speed_up": round(speed_up, 3),
                        "ideal": round(ideal, 3), "efficiency": round(speed_up / ideal, 3)})
    common.store("pipeline", {"model": "16 linear layers of 1024, 128 samples a micro-batch", "rows": figures})


main()
