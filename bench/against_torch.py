"""A stage program and PyTorch by turns: what bench/resnet50.py and bench/gpt.py share.

PyTorch comes from $BENCH_PYTHON (a Python that has it; /opt/venv/bin/python by default).
"""
import json
import os

import common

PYTHON = os.environ.get("BENCH_PYTHON", "/opt/venv/bin/python")
# glibc's allocator gives large blocks back to the system by default, and every step pays for the page
# faults of all its tensors.
TUNED = {"MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_MMAP_THRESHOLD_": "100000000000"}
SKIP = 2  # steps that warm up


def torch_steps(model, threads, steps):
    """(median seconds of a step, version)"""
    environment = {**os.environ, **TUNED, "OMP_NUM_THREADS": str(threads)}
    out = common.run([PYTHON, common.SOURCE / "bench/torch_models.py", model, threads, steps + SKIP], env=environment)
    figures = json.loads(out)
    return common.median(figures["step_s"][SKIP:]), figures["version"]


def our_steps(program, data, steps):
    """Median seconds of a step, from the program's own timeline."""
    trace = program.parent / "trace.json"
    common.run([program, "--data", data, "--steps", steps + SKIP, "--trace", trace])
    spent = [0.0] * (steps + SKIP)
    for event in json.loads(trace.read_text())["traceEvents"]:
        if event["ph"] == "X":
            spent[event["args"]["step"] - 1] += event["dur"] * 1e-6
    return common.median(spent[SKIP:])


def compare(name, model, data, options, samples, unit, rounds, steps):
    """Both sides by turns, on one thread and on two; stores and prints NAME's figures. Returns the
    programs by threads."""
    figures, programs = {}, {}
    for threads in (1, 2):
        out = common.build(f"{name}-{threads}", model, *options, "--stages", 1, "--micro-batches", 1, "--threads", threads)
        programs[threads] = out / "stage0"
        pairs = common.interleave(rounds, lambda: our_steps(programs[threads], data, steps), lambda: torch_steps(name, threads, steps))
        figures[f"{threads} thread" + "s" * (threads > 1)] = {
            f"{unit}_per_s": round(samples / common.median([ours for ours, _ in pairs]), 2),
            f"torch_{unit}_per_s": round(samples / common.median([theirs[0] for _, theirs in pairs]), 2),
            "ratio": round(common.median([theirs[0] / ours for ours, theirs in pairs]), 3)}
        figures["torch"] = pairs[0][1][1]
    return figures, programs
