"""Steps 6 to 8: pipelines of processes on one card, NCCL, and what goes wrong."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import programs
from build import Tools, build_again
from compare import attempt
from place import SOURCE, Trouble, begin, find_nvcc, json_lines, stop

import bits  # of tests/e2e

STEPS, HALF = 8, 4
LOSS = 1e-4  # of mixed jobs, beside those of the processor alone
RESTARTED, TINY_RESTARTED = 400, 12  # steps of a run in which a stage is killed


# 6 ----------------------------------------------------------------------------------------------


def command_of(place, program, name):
    return [place.stagecc, "run", place.program(name), "--data", programs.data_of(program, SOURCE, place.tiny)]


def train(place, program, stages, how="", env=None):
    """(losses, tensors) of one cut; resume: in two runs."""
    name = f"{program.name}-{stages}"
    folder = place.fresh(f"{name}-{how or 'whole'}")
    command = [*command_of(place, program, name), "--checkpoint", folder / "ckpt"]
    logged, limit = [], place.left() / 2  # one that hangs leaves the others some time
    if how == "resume":
        place.must([*command, "--steps", HALF, "--log-json", folder / "first.json"], limit)
        logged = bits.losses(folder / "first.json")
        command += ["--resume", folder / "ckpt"]
    place.must([*command, "--steps", STEPS, "--log-json", folder / "log.json"], limit, env)
    return logged + bits.losses(folder / "log.json"), bits.tensors(sorted((folder / "ckpt").glob("step-*"))[-1])


def difference(got, want):
    if len(want[0]) != STEPS:
        return f"{len(want[0])} steps were logged"
    for (step, a), (_, b) in zip(got[0], want[0]):
        if a != b:
            return f"another loss in step {step}: {a}, not {b}"
    differ = [name for name in want[1] if want[1][name] != got[1].get(name)]
    return f"other bits in {len(differ)} of {len(want[1])} tensors: {differ[0]}" if differ or len(got[0]) != STEPS else None


def compare_cuts(place, program, cuts):
    report = place.report
    want = train(place, program, cuts[0])
    report.judge(f"{program.name}, 1 stage", len(want[0]) == STEPS, f"{STEPS} steps, loss bits {want[0][-1][1]}")
    runs = [(f"{n} stages", n, "") for n in cuts[1:]] + [(f"{cuts[-1]} stages, stopped and resumed", cuts[-1], "resume"),
                                                         ("1 stage, again", 1, "again")]
    for what, stages, how in runs:
        def check(place):
            wrong = difference(train(place, program, stages, how), want)
            report.judge(f"{program.name}, {what}", not wrong, wrong or "the bits of one stage")
        attempt(place, f"{program.name}, {what}", check)


def children_of(launcher):
    try:
        return [int(pid) for pid in pathlib.Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]
    except OSError:
        return []


def is_stage(pid, number):
    try:
        return f"stage{number}" in pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except OSError:
        return False


def steps_logged(log):
    return log.read_text().count("loss_bits") if log.exists() else 0


class Disturbed:
    """A run whose stage 1 is killed once it trains."""

    def __init__(self, place, name, options, env=None):
        program, self.place, folder = programs.CUT[0][0], place, place.fresh(name)
        self.log, self.err = folder / "log.json", folder / "err.txt"
        command = [*command_of(place, program, f"{program.name}-2"), "--log-json", self.log, *options]
        with self.err.open("w") as stderr:
            self.launcher = begin(command, stdout=subprocess.DEVNULL, stderr=stderr,
                                             env={**os.environ, **place.env(), **(env or {})})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.launcher)

    def kill(self):
        """When it was killed, and the programs that are left."""
        while steps_logged(self.log) < 2 and self.launcher.poll() is None and self.place.left() > 5:
            time.sleep(0.005)
        stage = [pid for pid in children_of(self.launcher.pid) if is_stage(pid, 1)]
        if not stage:
            raise Trouble(f"no stage 1 to kill: {self.said() or 'it does not train'}")
        os.kill(stage[0], signal.SIGKILL)
        return time.monotonic(), children_of(self.launcher.pid)

    def said(self):
        """Its last words."""
        lines = self.err.read_text().strip().splitlines()
        return lines[-1][:200] if lines else ""

    def wait(self):
        try:
            return self.launcher.wait(timeout=max(self.place.left(), 1))
        except subprocess.TimeoutExpired:
            raise Trouble("the others do not end") from None


def kill_stage(place, name, env=None):
    """The others end, the launcher says who it was."""
    with Disturbed(place, "killed", ["--steps", 1000000], env) as run:
        since, others = run.kill()
        status = run.wait()
        left = [pid for pid in others if is_stage(pid, 0)]
        good = status == 4 and not left and "stage 1" in run.err.read_text()
        place.report.judge(name, good, f"exit status {status} after {time.monotonic() - since:.1f} s, {len(left)} programs left over: {run.said()}")


def restart(place):
    """All go on from the images of their states, and train as if nothing had happened."""
    program, steps = programs.CUT[0][0], TINY_RESTARTED if place.tiny else RESTARTED
    log = place.fresh("undisturbed") / "log.json"
    place.must([*command_of(place, program, f"{program.name}-2"), "--steps", steps, "--log-json", log], place.left() / 2)
    with Disturbed(place, "restarted", ["--steps", steps, "--restarts", 1]) as run:
        run.kill()
        status = run.wait()
        want, got = dict(bits.losses(log)), bits.losses(run.log)
        same = all(want.get(step) == loss for step, loss in got)  # one that is done again is told again
        place.report.judge("going on from images", status == 0 and len(want) == steps and same and dict(got).keys() == want.keys(),
                           f"a stage was killed, exit status {status}, {'the' if same else 'OTHER'} losses of {len(dict(got))} steps of {steps}: {run.said()}")


def mixed(place, program):
    """The first stage on the processor, beside both there."""
    told = []
    for name in (f"{program.name}-ref", program.name):
        log = place.fresh(name) / "log.json"
        place.must([*command_of(place, program, name), "--steps", STEPS, "--log-json", log], place.left() / 2)
        told.append([line["loss"] for line in json_lines(log.read_text()) if "loss_bits" in line])
    want, got = told
    stages = json.loads((place.program(program.name) / "plan.json").read_text())["stages"]
    backends = tuple(s["backend"] for s in stages)
    off = max((abs(a - b) / abs(b) for a, b in zip(got, want)), default=1)
    good = len(want) == len(got) == STEPS and off <= LOSS and backends == programs.MIXED_BACKENDS
    place.report.judge(program.name, good, f"stages of {', '.join(backends)}: losses of {len(got)} steps off by {off:.1e} of {LOSS:.0e}", loss=off)


def pipelines(place):
    for program, cuts in programs.CUT:
        attempt(place, program.name, compare_cuts, program, cuts)
    attempt(place, "a stage is killed", kill_stage, "a stage is killed")
    attempt(place, "going on from images", restart)
    for program in programs.MIXED:
        attempt(place, program.name, mixed, program)


# 7 ----------------------------------------------------------------------------------------------


def messages(place):
    """A rank that sends to itself."""
    if not (place.root / "messages").exists():
        place.report.not_run("messages", "stagecc was built without NCCL's header")
        return
    done = place.run([place.root / "messages", 1 << 16 if place.tiny else 1 << 24], env={"NCCL_DEBUG": "WARN"})
    if done.status == 2:
        place.report.not_run("messages", done.err)
        return
    lines = json_lines(done.out)
    for line in lines:
        place.report.passed(line["name"], f"{line['bytes']} bytes in {line['us']} us, {line['gb_per_s']} GB/s",
                            **{k: v for k, v in line.items() if k != "name"})
    if done.status != 0 or not lines:
        place.report.failed("messages", done.why())


def from_card_to_card(place, env):
    """Two stages whose messages take NCCL's way, which tells that it was used."""
    (program, cuts), told = programs.CUT[0], pathlib.Path(env["NCCL_DEBUG_FILE"])
    wrong = difference(train(place, program, 2, "nccl", env), train(place, program, cuts[0], "alone"))
    used = told.exists() and told.stat().st_size > 0
    place.report.judge("two cards", used and not wrong, wrong or ("the bits of one stage" if used else "they did not use NCCL"))


def nccl(place):
    attempt(place, "messages", messages)
    names, cards = ("two cards", "a peer that dies"), sum("device" in line for line in place.facts.get("card", []))
    if cards < 2 or not (place.root / "messages").exists():
        for name in names:
            place.report.not_run(name, "wants two cards" if cards < 2 else "wants NCCL")
        return
    env = {"STAGECC_NCCL": "1", "NCCL_DEBUG": "VERSION", "NCCL_DEBUG_FILE": str(place.fresh("nccl") / "told")}
    attempt(place, names[0], from_card_to_card, env)
    attempt(place, names[1], kill_stage, names[1], env)


# 8 ----------------------------------------------------------------------------------------------


def refusals(place):
    """(what, program, environment, exit status, text)"""
    wants = "this program wants a CUDA device: "
    if place.tiny:
        yield "no driver", "bad", {"FAKE_CUDA_DEVICES": "0", "FAKE_CUDA_DRIVER": "0"}, 2, wants + "there is no driver"
        yield "no device", "bad", {"FAKE_CUDA_DEVICES": "0"}, 2, wants + "the driver shows none"
    else:
        yield "no device", "bad", {"CUDA_VISIBLE_DEVICES": ""}, 2, wants
    yield "too little memory", "too-large", {}, 3, "of its device, which has"
    yield "another device", "bad", {"STAGECC_CARD": "77"}, 2, "STAGECC_CARD=77: this host has the devices 0 to"


def check_refusal(place, what, name, env, status, text):
    program = place.program(name) / "stage0"
    done = place.run([program, "--data", programs.DIGITS.format(source=SOURCE), "--steps", "1"], 60, env)
    said = done.err.strip().splitlines()[-1] if done.err.strip() else ""
    place.report.judge(what, done.status == status and text in done.err, f"{done.why() if done.status != status else f'exit status {status}'}: {said}"[:300])


def check_architecture(place):
    """A program for another architecture, made of the kernels that were carried."""
    if place.tiny:
        place.report.not_run("another architecture", "a simulated device has none")
        return
    if not find_nvcc():
        place.report.not_run("another architecture", "nvcc is not here")
        return
    folder = place.fresh("architecture") / "bad"
    shutil.copytree(place.program("bad"), folder)
    text = (folder / "build.ninja").read_text()
    flags = "-gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90"
    if flags not in text:
        raise Trouble("its flags are not known")
    card = next((line["capability"] for line in place.facts.get("card", []) if "capability" in line), "9.0")
    other = "80" if not card.startswith("8") else "90"
    (folder / "build.ninja").write_text(text.replace(flags, f"-gencode arch=compute_{other},code=sm_{other}"))
    build_again(folder, place.manifest["roots"], Tools(place.root))
    done = place.run([folder / "stage0", "--data", programs.DIGITS.format(source=SOURCE), "--steps", "1"], 60)
    place.report.judge("another architecture", done.status == 2, done.why())


def bad_input(place):
    for row in refusals(place):
        attempt(place, row[0], check_refusal, *row)
    attempt(place, "another architecture", check_architecture)
    place.report.not_run("an engine that is not there", "not built yet: builds do not name engines")
