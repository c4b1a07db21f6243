"""A stage program and PyTorch by turns: what bench/resnet50.py and bench/gpt.py share.

PyTorch comes from $BENCH_PYTHON (a Python that has it; /opt/venv/bin/python by default).
"""
import json
import os
import resource

import common

PYTHON = os.environ.get("BENCH_PYTHON", "/opt/venv/bin/python")
# glibc's allocator gives large blocks back to the system by default, and every step pays for the page
# faults of all its tensors.
TUNED = {"MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_MMAP_THRESHOLD_": "100000000000"}
SKIP = 2  # steps that warm up


def torch_steps(model, threads, steps):
    """(seconds of each step, CPU seconds of each step, version)"""
    environment = {**os.environ, **TUNED, "OMP_NUM_THREADS": str(threads)}
    out = common.run([PYTHON, common.SOURCE / "bench/torch_models.py", model, threads, steps + SKIP], env=environment)
    figures = json.loads(out)
    return figures["step_s"][SKIP:], figures["cpu_s"][SKIP:], figures["version"]


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def our_steps(program, data, steps):
    """(seconds of each step, CPU seconds of one): the CPU time is that of the run less that of a run of
    the steps that warm up."""
    trace = program.parent / "trace.json"

    def run(n, *more):
        begin = cpu_seconds()
        common.run([program, "--data", data, "--steps", n, *more])
        return cpu_seconds() - begin

    warm = run(SKIP)
    cpu = (run(steps + SKIP, "--trace", trace) - warm) / steps
    spent = [0.0] * (steps + SKIP)
    for event in json.loads(trace.read_text())["traceEvents"]:
        if event["ph"] == "X":
            spent[event["args"]["step"] - 1] += event["dur"] * 1e-6
    return spent[SKIP:], cpu


def compare(name, model, data, options, samples, unit, rounds, steps):
    """Both sides by turns, on one thread and on two; stores and prints NAME's figures. Returns the
    programs by threads."""
    figures, programs = {}, {}
    for threads in (1, 2):
        out = common.build(f"{name}-{threads}", model, *options, "--stages", 1, "--micro-batches", 1, "--threads", threads)
        programs[threads] = out / "stage0"
        pairs = common.interleave(rounds, lambda: our_steps(programs[threads], data, steps), lambda: torch_steps(name, threads, steps))
        ours = [common.median(a[0]) for a, _ in pairs]
        theirs = [common.median(b[0]) for _, b in pairs]
        figures[f"{threads} thread" + "s" * (threads > 1)] = {
            f"{unit}_per_s": round(samples / common.median(ours), 2),
            f"torch_{unit}_per_s": round(samples / common.median(theirs), 2),
            "ratio": round(common.median([b / a for a, b in zip(ours, theirs)]), 3),
            "cpu_s_per_step": round(common.median([a[1] for a, _ in pairs]), 3),
            "torch_cpu_s_per_step": round(common.median([common.median(b[1]) for _, b in pairs]), 3)}
        figures["torch"] = pairs[0][1][2]
    return figures, programs
