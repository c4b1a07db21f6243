"""What the benchmarks share: building and running stage programs, interleaved pairs, stored results.

Every figure is the median of interleaved rounds (A B A B …) of one call, so that a machine whose speed
drifts does the same to both sides; ratios are taken round by round.
"""
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent
STAGECC = pathlib.Path(os.environ.get("STAGECC", SOURCE / "build/release/stagecc"))
RESULTS = SOURCE / "bench/results"
WORK = pathlib.Path(os.environ.get("BENCH_WORK", SOURCE / "build/bench")).resolve()


def run(command, **options):
    """stdout of a command; ends the benchmark with its output where it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(name, model, *options):
    """Stage programs of a model in a folder of the benchmarks' own; returns the folder."""
    out = WORK / name
    run([STAGECC, "build", SOURCE / model, "--no-svg", "-o", out, *options])
    return out


def step_rates(out, *options, skip=3, watch=None):
    """samples/s of every step but the first few. watch({stage: pid}) is called every second: seldom, as it takes a core."""
    log = out / "log.json"
    command = [STAGECC, "run", out, "--log-json", log, *options]
    told = out / "stderr.txt"  # a file never fills up while nobody reads it
    with told.open("w") as stderr, subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=stderr, cwd=SOURCE) as launcher:
        while watch and launcher.poll() is None:
            watch(stage_processes(launcher.pid))
            time.sleep(1)
    if launcher.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {launcher.returncode}\n{told.read_text()}")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    rates = [line["samples_per_s"] for line in lines if line.get("samples_per_s") and "step" in line]
    return rates[skip:]


def stage_processes(launcher):
    """{stage: pid} of the programs that `stagecc run` has started."""
    found = {}
    try:
        for pid in map(int, pathlib.Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()):
            name = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0].rpartition("/")[2]
            if name.startswith("stage") and name[5:].isdigit():
                found[int(name[5:])] = pid
    except OSError:  # somebody ended meanwhile
        pass
    return found


def interleave(rounds, *sides):
    """[[figure of side 0, …], …]: every round runs all sides in turn."""
    return [[side() for side in sides] for _ in range(rounds)]


def sandwich(rounds, outer, inner):
    """[(outer before, inner, outer after), …]: a speed that drifts steadily does the same to both sides."""
    figures, before = [], outer()
    for _ in range(rounds):
        middle, after = inner(), outer()
        figures.append((before, middle, after))
        before = after
    return figures


def by_outer(figures):
    """Median of what `inner` is to the mean of `outer` before and after it."""
    return median([2 * middle / (before + after) for before, middle, after in figures])


def median(values):
    return statistics.median(values)


def ratio(rounds, a=0, b=1):
    """Median over the rounds of side a's figure by side b's."""
    return median([r[a] / r[b] for r in rounds])


def stored(name):
    """What an earlier call on such a machine has stored; {}: nothing."""
    file = RESULTS / f"{name}.json"
    whole = json.loads(file.read_text()) if file.exists() else {}
    return whole if whole.get("machine") == machine() else {}


def machine():
    model = "unknown"
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.platform(terse=True)}


def store(name, figures):
    """Writes bench/results/NAME.json and prints the figures."""
    RESULTS.mkdir(exist_ok=True)
    whole = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), **figures}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
