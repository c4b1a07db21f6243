"""Steps 6 to 8: pipelines of processes on one card, NCCL, and what goes wrong."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

import programs
from build import Tools, build_again
from compare import attempt
from place import SOURCE, Trouble, find_nvcc, stop

import bits  # of tests/e2e

STEPS, HALF = 8, 4


# 6 ----------------------------------------------------------------------------------------------


def train(place, program, stages, how=""):
    """(losses, tensors) of one cut; resume: in two runs."""
    name = f"{program.name}-{stages}"
    folder = place.fresh(f"{name}-{how or 'whole'}")
    command = [place.stagecc, "run", place.program(name), "--data", programs.data_of(program, SOURCE, place.tiny), "--checkpoint", folder / "ckpt"]
    logged, limit = [], place.left() / 2  # one that hangs leaves the others some time
    if how == "resume":
        place.must([*command, "--steps", HALF, "--log-json", folder / "first.json"], limit)
        logged = bits.losses(folder / "first.json")
        command += ["--resume", folder / "ckpt"]
    place.must([*command, "--steps", STEPS, "--log-json", folder / "log.json"], limit)
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


def kill_stage(place):
    """Stage 1 is killed while it trains: the others end, the launcher says who it was."""
    program, folder = programs.CUT[0][0], place.fresh("killed")
    log, err = folder / "log.json", folder / "err.txt"
    command = [place.stagecc, "run", place.program(f"{program.name}-2"), "--data", programs.data_of(program, SOURCE, place.tiny), "--steps", 1000000,
               "--log-json", log]
    with err.open("w") as stderr:
        launcher = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True,
                                    env={**os.environ, **place.env()})
    try:
        while steps_logged(log) < 2 and launcher.poll() is None and place.left() > 5:
            time.sleep(0.05)
        stage = [pid for pid in children_of(launcher.pid) if is_stage(pid, 1)]
        if not stage:
            raise Trouble(f"no stage 1 to kill: {err.read_text().strip()[:200] or 'it does not train'}")
        os.kill(stage[0], signal.SIGKILL)
        begin, others = time.monotonic(), children_of(launcher.pid)
        status = launcher.wait(timeout=max(place.left(), 1))
        left = [pid for pid in others if is_stage(pid, 0)]
        good = status == 4 and not left and "stage 1" in err.read_text()
        place.report.judge("a stage is killed", good, f"exit status {status} after {time.monotonic() - begin:.1f} s, {len(left)} programs left over: "
                                                      f"{err.read_text().strip().splitlines()[-1][:200]}")
    except subprocess.TimeoutExpired:
        place.report.failed("a stage is killed", "the others do not end")
    finally:
        stop(launcher)


def pipelines(place):
    for program, cuts in programs.CUT:
        attempt(place, program.name, compare_cuts, program, cuts)
    attempt(place, "a stage is killed", kill_stage)
    place.report.not_run("a stage of the c backend in front", "gpu-check has no such job yet")
    place.report.not_run("going on from images", "gpu-check has no such job yet")


# 7 ----------------------------------------------------------------------------------------------


def nccl(place):
    place.report.not_run("send, receive, all-reduce", "gpu-check has no program for that yet")
    place.report.not_run("a peer that dies", "wants two cards")


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
