"""The table of steps, and how one is run: it ends in time, and nothing that happens in it stops the next."""
import collections
import os
import signal
import time
import traceback

import build
import compare
import runs
import speed
import start
from place import Trouble

# number, name, seconds that the steps in front leave it, seconds it may take, what it does, what it needs
Step = collections.namedtuple("Step", "number name least_s limit_s run needs")
STEPS = [
    Step(1, "machine", 20, 60, start.machine, ()),
    Step(2, "start", 45, 90, start.start, ("programs",)),
    Step(3, "kernels", 35, 60, compare.kernels, ("programs", "card")),
    Step(4, "ops", 45, 160, compare.all_ops, ("programs", "card")),
    Step(5, "training", 45, 140, compare.training, ("programs", "card")),
    Step(6, "pipelines", 65, 140, runs.pipelines, ("programs", "card")),
    Step(7, "NCCL", 20, 40, runs.nccl, ("programs", "card")),
    Step(8, "bad input", 20, 40, runs.bad_input, ("programs", "card")),
    Step(9, "ceilings", 30, 60, speed.ceilings, ("programs", "card")),
    Step(10, "models", 55, 150, speed.models, ("programs", "card")),
    Step(11, "PyTorch", 40, 180, speed.torch, ("card",)),
    Step(12, "compute-sanitizer", 20, 60, speed.sanitize, ("programs", "card")),
    Step(13, "probe", 30, 120, speed.probe, ("programs", "card")),
]
QUICK = 8  # the last one of --quick
TOTAL_S, GRACE_S = float(os.environ.get("GPU_CHECK_TOTAL_S", 470)), 5
MOST_S = float(os.environ.get("GPU_CHECK_LIMIT_S", TOTAL_S))  # that any step may take, for tests


class Overdue(BaseException):  # so that no handler of a step takes it
    pass


def overdue(_signal, _frame):
    raise Overdue


def why_not(step, place):
    if "programs" in step.needs and not place.manifest:
        return place.facts.get("why_no_programs", "no programs were carried")
    if "card" in step.needs and place.why_not:
        return place.why_not
    return None


def limit_of(step, left_s, behind):
    """Of what is left those behind it have their share; whatever they do not need is for who comes last."""
    return min(step.limit_s, max(left_s - sum(s.least_s for s in behind), step.least_s), left_s, MOST_S)


def run_step(step, place, all_until, behind):
    report = place.report
    report.begin_step(step.number, step.name)
    left = all_until - time.monotonic()
    why = why_not(step, place) or (f"{TOTAL_S:.0f} s are over" if left < 2 else None)
    if why:
        report.not_run(step.name, why)
        return
    limit = limit_of(step, left, behind)
    place.deadline = build.until = time.monotonic() + limit
    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(int(limit + GRACE_S))
    try:
        step.run(place)
    except Trouble as trouble:
        report.failed(step.name, str(trouble))
    except Overdue:
        report.failed(step.name, f"no end within {limit:.0f} s")
    except Exception as error:  # a mistake of this tool costs one step
        report.failed(step.name, f"{type(error).__name__}: {error}; {traceback.format_exc().splitlines()[-3].strip()}")
    finally:
        signal.alarm(0)


def chosen(quick, only):
    names = [w for w in only.split(",") if w]
    return [s for s in STEPS if (s.number <= QUICK or not quick) and
            (not names or s.number <= 2 or str(s.number) in names or s.name in names)]


def run_steps(place, quick, only, save):
    until, steps = time.monotonic() + TOTAL_S, chosen(quick, only)
    for i, step in enumerate(steps):
        run_step(step, place, until, steps[i + 1 :])
        save()  # whatever happens to the next one


def list_steps():
    return "\n".join(f"{s.number:3} {s.name:<18} {s.least_s:3} s, at most {s.limit_s:3} s" for s in STEPS)
