"""Steps 9 to 13: what the card can do at most, what we and PyTorch make of it, NVIDIA's checkers, and whether libraries are steady."""
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import programs
from compare import attempt
from place import SOURCE, Trouble, begin, json_lines, run, side_by_side, stop

UNITS = {"gb_per_s": "GB/s", "tflop_per_s": "TFLOP/s"}
COPY, PRODUCTS = "copy within the device", "products in bf16"
# Of `stagecc-card measure`: its word, name, unit, what divides it.
CEILINGS = [("bytes_per_s", COPY, "GB/s", 1e9), ("to_bytes_per_s", "copy to the device", "GB/s", 1e9),
            ("from_bytes_per_s", "copy from the device", "GB/s", 1e9), ("bf16_flops", PRODUCTS, "TFLOP/s", 1e12),
            ("tf32_flops", "products in f32 by tf32", "TFLOP/s", 1e12), ("flops", "products in f32", "TFLOP/s", 1e12)]
STEPS, SKIP = 40, 8  # of a measured run
TORCH_STEPS, TORCH_S = 30, 20  # of one of PyTorch's; seconds that its steps may take, behind compilation


# 9 ----------------------------------------------------------------------------------------------


def measure_kernels(place, command):
    """Lines of a program that tells figures; each is a check that has passed."""
    done = place.run(command)
    copy = place.ceilings.get(COPY)
    for line in json_lines(done.out):
        unit, value = next((u, line[u]) for u in UNITS if u in line)
        share = f", {100 * value / copy:.0f} % of a copy" if unit == "gb_per_s" and copy else ""
        place.report.passed(line["name"], f"{value} {UNITS[unit]} in {line['ms']} ms{share}", **{k: v for k, v in line.items() if k != "name"})
    if done.status != 0:
        place.report.failed(command[0].name + " " + str(command[1]), done.why())


def measure_card(place):
    line = json_lines(place.must([place.card, "measure", 1]))[0]
    for word, name, unit, size in CEILINGS:
        place.ceilings[name] = line[word] / size
        place.report.passed(name, f"{place.ceilings[name]:.4g} {unit}", **{word: line[word]})


def ceilings(place):
    attempt(place, "stagecc-card", measure_card)
    attempt(place, "kernels", measure_kernels, [place.root / "kernels", 1 if place.tiny else 256])


# 10 ---------------------------------------------------------------------------------------------


def lines_of(log):
    if not log.exists():
        return []
    return [line for line in json_lines(log.read_text()) if "loss_bits" in line]


def run_measured(place, program, steps):
    """(seconds from start to the first step, samples a second of each step)"""
    folder = place.fresh(program.name)
    log, err = folder / "log.json", folder / "err.txt"
    command = [place.stagecc, "run", place.program(program.name), "--data", programs.data_of(program, SOURCE, place.tiny), "--steps",
               steps, "--log-json", log]
    since, first = time.monotonic(), None
    with err.open("w") as stderr:
        launcher = begin(command, stdout=subprocess.DEVNULL, stderr=stderr,
                                    env={**os.environ, **place.env()})
    try:
        while launcher.poll() is None and place.left() > 0:
            if first is None and lines_of(log):
                first = time.monotonic() - since
            time.sleep(0.02 if first is None else 0.2)
        if launcher.poll() is None:
            raise Trouble(f"no end within its time, {len(lines_of(log))} steps")
    finally:
        stop(launcher)
    if launcher.returncode:
        raise Trouble(f"exit status {launcher.returncode}: {err.read_text().strip().splitlines()[-1:]}")
    samples = [line["samples_per_s"] for line in lines_of(log) if line.get("samples_per_s")]
    if not samples:
        raise Trouble("no steps were logged")
    return first or time.monotonic() - since, samples


def measure_model(place, program, samples, unit, flop):
    start, rates = run_measured(place, program, 6 if place.tiny else STEPS)
    again, _ = run_measured(place, program, 2)  # its plans are there now
    rates = rates[2 if place.tiny else SKIP:]
    rate = statistics.median(rates)
    step, text = samples / rate, f"{rate:.1f} {unit}/s, {1e3 * samples / rate:.1f} ms a step of {samples}"
    figures = {f"{unit}_per_s": round(rate, 1), "step_s": step, "start_s": round(start, 2), "start_again_s": round(again, 2)}
    peak = place.ceilings.get(PRODUCTS)
    if peak and not place.tiny:
        figures["mfu"] = round(flop / step / 1e12 / peak, 3)
        text += f", {100 * figures['mfu']:.1f} % of the products' ceiling"
    if unit == "samples" and not place.tiny:
        text += f", {rate * 1024:.0f} tokens/s"
    spread = sorted(rates)
    figures["quartiles"] = [round(spread[len(spread) // 4], 1), round(spread[3 * len(spread) // 4], 1)]
    place.measured = {**getattr(place, "measured", {}), program.name: rate}
    place.report.passed(program.name, f"{text}; first step after {start:.1f} s, again after {again:.1f} s", **figures)


def models(place):
    for row in programs.MEASURED:
        attempt(place, row[0].name, measure_model, *row)


# 11 ---------------------------------------------------------------------------------------------


def find_torch():
    """A Python that has PyTorch."""
    candidates = [os.environ.get("BENCH_PYTHON"), sys.executable, shutil.which("python3"), *sorted(glob.glob("/opt/*/.venv/bin/python3")),
                  *sorted(glob.glob("/opt/*/bin/python3"))]
    for python in dict.fromkeys(p for p in candidates if p and os.access(p, os.X_OK)):
        if run([python, "-c", "import importlib.util, sys; sys.exit(not importlib.util.find_spec('torch'))"], 20).status == 0:
            return python
    return None


def measure_torch(place, python, name, samples, unit, compiled):
    how = "compiled" if compiled else "eager"
    command = [python, SOURCE / "bench/torch_cuda.py", name, how, TORCH_STEPS, TORCH_S]
    # ResNet-50 takes longest to compile, and leaves GPT-2 something
    done = place.run([*command, "--tiny"] if place.tiny else command, 0.6 * place.left() if name == "resnet50" else None)
    lines = json_lines(done.out)
    if done.status != 0 or not lines:
        raise Trouble(done.why())
    rate = samples / statistics.median(lines[-1]["step_s"])
    ours = getattr(place, "measured", {}).get(name)
    ratio = f", ours is {ours / rate:.2f} x" if ours else ""
    place.report.passed(f"{name}, {how}", f"{rate:.1f} {unit}/s, {1e3 * samples / rate:.1f} ms a step{ratio}; first step after "
                        f"{lines[-1]['start_s']:.1f} s; PyTorch {lines[-1]['version']}", rate=round(rate, 1), **lines[-1])


def torch(place):
    python = find_torch()
    if not python:
        place.report.not_run("PyTorch", "no Python here has it (BENCH_PYTHON names one)")
        return
    for compiled in (False, True):  # to compile takes longest
        for program, samples, unit, _ in programs.MEASURED:
            attempt(place, f"{program.name}, {'compiled' if compiled else 'eager'}", measure_torch, python, program.name, samples, unit, compiled)


# 12 ---------------------------------------------------------------------------------------------


def sanitize(place):
    tool = shutil.which("compute-sanitizer") or next(iter(sorted(glob.glob("/usr/local/cuda*/bin/compute-sanitizer"))), None)
    if not tool:
        place.report.not_run("compute-sanitizer", "it is not here")
        return
    names = sorted(p.stem for p in (place.root / "expected").glob("*.bits"))
    for check, share in (("memcheck", 0.5), ("racecheck", 1)):
        until, done = time.monotonic() + share * place.left(), 0

        def look(name):
            return place.run([tool, "--tool", check, "--error-exitcode", "9", place.root / "device_tests", name], until - time.monotonic())

        for name, said in zip(names, side_by_side(look, names, 8)):  # most of it is the start of each
            if said.status is None:
                place.report.not_run(f"{check}, {name}", f"no end within {said.seconds:.0f} s")
            elif said.status:
                told = [line for line in said.out.splitlines() if line.startswith("=========") and len(line) > 12]
                place.report.failed(f"{check}, {name}", f"{said.why()}: {' '.join(told[1:3])}"[:300])
            else:
                done += 1
        (place.report.passed if done else place.report.not_run)(check, f"{done} of {len(names)} programs without errors")


# 13 ---------------------------------------------------------------------------------------------


def probe_program(place, program, limit_s):
    """Every row of the program, each candidate twice: who gives other bits is told on stderr. Rows are written as they come."""
    found = place.fresh(f"{program.name}-probe") / "kernels.json"
    done = place.run([place.program(program.name) / "stage0", "--probe", found], limit_s)
    lines = found.read_text().splitlines() if found.exists() else []
    rows = [json.loads(line.rstrip(",")) for line in lines if line.startswith('{"key"') and line.endswith(("}", "},"))]
    refused = [line.split("warning: ")[-1] for line in done.err.splitlines() if "is not taken for" in line]
    if not rows or done.status:
        raise Trouble(done.why())
    seconds, workspace = sum(row["seconds"] for row in rows), max(row["workspace_bytes"] for row in rows)
    text = (f"{len(rows)} kernels{'' if done.status == 0 else ' within its time'}, {1e3 * seconds:.1f} ms for one call of each, "
            f"workspaces up to {workspace / 2**20:.0f} MiB; {len(refused)} refused")
    place.report.judge(f"{program.name}, probe", not refused, "; ".join([text, *refused]), kernels=len(rows), seconds=seconds)


def probe(place):
    for i, (program, *_) in enumerate(programs.MEASURED):
        attempt(place, f"{program.name}, probe", probe_program, program, place.left() / (len(programs.MEASURED) - i))
