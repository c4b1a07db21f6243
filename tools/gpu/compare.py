"""Steps 3 to 5: kernels, ops, and steps of training against those of the processor."""
import array
import json
import math
import os
import shutil
import sys

import programs
from build import OWN_BITS
from place import SOURCE, Trouble, side_by_side

import bits  # of tests/e2e
import ops  # of tests/ops

LR = 2.0**19  # of a step that tells the gradient, as in ops.py
STEPS, LOSS, GRADIENT = 10, 1e-4, 1e-3
REPLAYED = 6  # steps: functions run by hand at first, then they are captured


def attempt(place, name, check, *arguments):
    """A check whose trouble does not stop the others of its step."""
    try:
        check(place, *arguments)
    except (Trouble, OSError, KeyError, IndexError, ValueError, StopIteration) as trouble:
        place.report.failed(name, str(trouble) or type(trouble).__name__)


# 3 ----------------------------------------------------------------------------------------------


def first_difference(got, want):
    for i, (a, b) in enumerate(zip(got, want)):
        if a != b:
            return f"result {i + 1} of {len(want)}: {a.removeprefix('bits ')}, not {b.removeprefix('bits ')}"
    return f"{len(got)} results, not {len(want)}" if len(got) != len(want) else None


def judge_kernel(place, name, done):
    report = place.report
    if done.status != 0:
        told = [line.strip() for line in done.out.splitlines() if any(w in line for w in ("TOO FAR", "WRONG", "OTHER", "NO", "race", "beside"))]
        report.failed(name, done.why() if done.status is None or not told else f"exit status {done.status}: {told[0]}")
        return
    got = [line for line in done.out.splitlines() if line.startswith("bits ")]
    if name in OWN_BITS:
        report.passed(name, f"{len(got)} results, the same bits twice, within the tolerance")
        return
    want = (place.root / "expected" / f"{name}.bits").read_text().splitlines()
    wrong = first_difference(got, want)
    report.judge(name, not wrong and bool(want), wrong or f"{len(want)} results, the processor's bits", results=len(want))


def kernels(place):
    names = sorted(p.stem for p in (place.root / "expected").glob("*.bits"))
    if not names:
        raise Trouble("no bits of the processor were carried")
    tests = place.root / "device_tests"
    done = side_by_side(lambda n: place.run([tests, n], env={"CUDA_TEST_BITS": "1"}), names, 4)
    for name, one in zip(names, done):
        judge_kernel(place, name, one)


# 4 ----------------------------------------------------------------------------------------------


def run_ops(place, name, options, small):
    report, folder = place.report, place.program(name)
    done = place.run([sys.executable, SOURCE / "tests/ops/ops.py", place.stagecc, "--backend", "cuda", "--trust-ref", "--keep", folder,
                      "--programs", "use", *programs.ops_options(options, small, place.tiny)])
    said = [line for line in done.out.splitlines() if line.strip()]
    for line in said:
        if line.startswith("  "):
            print("      " + line.strip())
    text = "; ".join(line for line in said if ":" in line and not line.startswith("  "))
    report.judge(name, done.status == 0, text if done.status in (0, 1) and text else f"{text} {done.why()}")


def all_ops(place):
    # Side by side, as they make many plans of convolutions on one processor each.
    side_by_side(lambda row: attempt(place, row[0], run_ops, *row), programs.OPS)


# 5 ----------------------------------------------------------------------------------------------


def tensors_of(checkpoint):
    found = {}
    for shard in sorted(checkpoint.glob("*.safetensors")):
        found.update(ops.read_safetensors(shard))
    if not found:
        raise Trouble(f"no tensors in {checkpoint}")
    return found


def rounded(values):
    return array.array("f", values)


class Compared:
    """A model that ref trains in double, and that takes single steps from the states in between on both sides."""

    def __init__(self, place, program, folder):
        self.place, self.name, self.folder = place, program.name, folder
        self.dirs = {side: place.program(f"{program.name}-{side}") for side in ("ref", "cuda")}
        self.data = programs.data_of(program, SOURCE, place.tiny)

    def states(self):
        checkpoint = self.folder / "states"
        self.place.must([self.place.stagecc, "run", self.dirs["ref"], "--data", self.data, "--steps", STEPS, "--checkpoint", checkpoint,
                         "--checkpoint-every", 1])
        return [tensors_of(path) for path in sorted(checkpoint.glob("step-*"))][:STEPS]

    def step(self, side, number, state):
        """Loss and gradients of a step from this state."""
        folder = self.folder / f"{side}-{number}"
        folder.mkdir()
        dtype = "F64" if side == "ref" else "F32"
        init = {name: ([len(values)], array.array("d" if side == "ref" else "f", values)) for name, values in state.items()}
        ops.write_safetensors(folder / "init.safetensors", self.shaped(init), dtype)
        self.place.must([self.place.stagecc, "run", self.dirs[side], "--data", self.data, "--steps", 1, "--lr", LR, "--init",
                         folder / "init.safetensors", "--checkpoint", folder / "after", "--log-json", folder / "log.json"])
        after = tensors_of(next((folder / "after").glob("step-*")))
        lines = [json.loads(line) for line in (folder / "log.json").read_text().splitlines()]
        return next(line["loss"] for line in lines if "loss_bits" in line), after

    def shaped(self, tensors):
        shapes = self.shapes()
        return {name: (shapes[name], values) for name, (_, values) in tensors.items()}

    def shapes(self):
        shard = next(self.folder.glob("states/step-*/*.safetensors"))
        found = {}
        for shard in sorted(self.folder.glob("states/step-000001/*.safetensors")):
            raw = shard.read_bytes()
            size = int.from_bytes(raw[:8], "little")
            found |= {n: e["shape"] for n, e in json.loads(raw[8 : 8 + size]).items() if n != "__metadata__"}
        return found


def gradient_distance(before, got, want):
    """Of all parameters as one vector, and of the worst of them beside the largest one's norm."""
    apart, whole = 0.0, 0.0
    for name in want:
        if name not in got:
            raise Trouble(f"no {name} behind a step")
        for p, a, b in zip(before[name], got[name], want[name]):
            g, w = (p - a) / LR, (p - b) / LR
            apart, whole = apart + (g - w) ** 2, whole + w * w
    return math.sqrt(apart) / max(math.sqrt(whole), 1e-30)


def compare_steps(place, program):
    compared = Compared(place, program, place.fresh(f"steps-{program.name}"))
    states = [{name: rounded(values) for name, values in state.items()} for state in compared.states()]
    jobs = [(side, i, state) for i, state in enumerate(states) for side in ("ref", "cuda")]
    done = side_by_side(lambda job: compared.step(*job), jobs, max(2, min(8, (os.cpu_count() or 2) // 2)))
    found = {(job[0], job[1]): result for job, result in zip(jobs, done)}
    loss = gradient = 0.0
    for i, state in enumerate(states):
        (want, want_after), (got, got_after) = found["ref", i], found["cuda", i]
        loss = max(loss, abs(got - want) / abs(want))
        trained = {n: v for n, v in want_after.items() if ".running_" not in n}
        gradient = max(gradient, gradient_distance(state, got_after, trained))
    good = len(states) == STEPS and loss <= LOSS and gradient <= GRADIENT
    place.report.judge(f"{program.name}, steps", good, f"{len(states)} states: loss off by {loss:.1e} of {LOSS:.0e}, gradients by {gradient:.1e} "
                                                       f"of {GRADIENT:.0e}", loss=loss, gradient=gradient)


def train(place, name, program, options, env=None):
    """(what is logged, tensors)"""
    folder = place.fresh(name)
    place.must([place.stagecc, "run", place.program(program), *options, "--checkpoint", folder / "ckpt", "--log-json", folder / "log.json"], env=env)
    return bits.told(folder / "log.json"), bits.tensors(sorted((folder / "ckpt").glob("step-*"))[-1])


def replay(place, program):
    """Captured and replayed, or launched one by one."""
    options = ["--data", programs.data_of(program, SOURCE, place.tiny), "--steps", REPLAYED]
    told, tensors = train(place, f"replayed-{program.name}", f"{program.name}-cuda", options)
    told_by_hand, by_hand = train(place, f"by-hand-{program.name}", f"{program.name}-cuda", options, {"STAGECC_CUDA_LAUNCH": "1"})
    differ = [name for name in by_hand if tensors.get(name) != by_hand[name]]
    place.report.judge(f"{program.name}, replayed", told == told_by_hand and not differ,
                       f"{'the same' if told == told_by_hand else 'OTHER'} losses as launched one by one, other bits in {len(differ)} of {len(by_hand)} tensors")


def train_reader(place, again):
    epochs = programs.TINY_EPOCHS if place.tiny else programs.EPOCHS
    data = {"--data": programs.DIGITS, "--test-data": programs.DIGITS_TEST}
    told, tensors = train(place, f"digits-{again}", "digits", [*[w.format(source=SOURCE) for pair in data.items() for w in pair], "--epochs", epochs])
    return [line["test_accuracy"] for line in told if "test_accuracy" in line][-1], told, tensors


def read_digits(place):
    wanted = programs.TINY_ACCURACY if place.tiny else programs.ACCURACY
    score, told, tensors = train_reader(place, "first")
    place.report.judge("digits", score >= wanted, f"{100 * score:.1f} % of the test images, {100 * wanted:.0f} wanted", accuracy=score)
    _, told_again, tensors_again = train_reader(place, "again")
    place.report.judge("digits, again", told == told_again and tensors == tensors_again,
                       f"{'the same' if told == told_again else 'OTHER'} losses, {'the same' if tensors == tensors_again else 'OTHER'} bits in "
                       f"{len(tensors)} tensors")


def training(place):
    for program in programs.COMPARED:
        attempt(place, f"{program.name}, replayed", replay, program)
    for program in programs.COMPARED:
        attempt(place, f"{program.name}, steps", compare_steps, program)
    attempt(place, "digits", read_digits)
    shutil.rmtree(place.work, ignore_errors=True)
