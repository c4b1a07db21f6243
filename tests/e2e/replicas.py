"""Replicated stages give the same bits on every repetition, and those of one process that adds the micro-batches
up in the same groups (tests/e2e/grouped.c); without groups the losses are nearly the same. RANKS>RANKS goes on with
other replicas from the first one's checkpoint, to twice as many steps.

  replicas.py STAGECC SOURCE_DIR MODEL STEPS RANKS[>RANKS...][;RANKS...] [MODEL-OPTS ...]
"""
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402

STAGECC, SOURCE, MODEL, STEPS, CASES, *OPTIONS = sys.argv[1:]
DATA = f"idx:{SOURCE}/examples/digits/train"


def real(loss_bits):
    return struct.unpack(">f", bytes.fromhex(loss_bits))[0]


class Emulation:
    """The program of one stage, and the same with groups."""

    def __init__(self, work):
        self.one, self.program, self.work = work / "one", work / "grouped", work
        bits.run([STAGECC, "build", MODEL, "--stages", "1", "-o", self.one, "--no-svg", *OPTIONS])
        compile_line = re.search(r"^//   compile  (.*)$", (self.one / "stage0.c").read_text(), re.M).group(1)
        words = compile_line.replace(" stage0.c ", f" {SOURCE}/tests/e2e/grouped.c ").split()
        words[words.index("-o") + 1] = str(self.program)
        words[1:1] = [f"-I{SOURCE}", f'-DPROGRAM="{self.one}/stage0.c"', "-D_GNU_SOURCE"]
        bits.run(words)

    def trained(self, groups, steps, *options):
        """Losses and tensors with these groups; of a tensor that is there twice the later line counts."""
        with open(self.work / "groups", "w") as file:
            file.writelines(f"{name} {replicas}\n" for name, replicas in groups)
        command = [self.program, "--data", DATA, "--steps", str(steps), "--checkpoint", self.work / "ckpt", *options]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GROUPS": str(self.work / "groups")})
        assert done.returncode == 0, done.stderr
        losses = [(int(step), loss) for step, loss in (line.split() for line in done.stdout.splitlines())]
        return losses, bits.tensors(self.work / "ckpt" / f"step-{steps:06}")


def build(out, ranks):
    """(tensor, replicas of the stage that makes it) for all that replicas add up. Others hold gradients of tied weights, too."""
    bits.run([STAGECC, "build", MODEL, "--stage_to_num_ranks", ranks, "-o", out, "--no-svg", *OPTIONS])
    plan = json.loads((out / "plan.json").read_text())
    groups = []
    for stage in plan["stages"]:
        text = (out / f"stage{stage['id']}.c").read_text()
        groups += [(name, stage["replicas"]) for name in re.findall(r'\{"([^"]+)", RT_(?:ACCUMULATOR|BUFFER)', text)]
    shared = [edge for edge in plan["edges"] if ["share_put"] in edge["touch"]]
    return groups + [(e["name"], plan["stages"][plan["ranks"][e["producer"]]["stage"]]["replicas"]) for e in shared]


def trained(out, steps, name, *options):
    log = out / f"{name}.json"
    done = subprocess.run([STAGECC, "run", out, "--data", DATA, "--steps", str(steps), "--log-json", log, "--checkpoint", out / name, *options],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return bits.losses(log), bits.tensors(out / name / f"step-{steps:06}"), done.stderr


def same(ranks, got, want):
    assert want[0] == got[0], f"{ranks}: losses {got[0]}, and in groups {want[0]}"
    differ = [name for name in want[1] if want[1][name] != got[1].get(name)]
    assert not differ and want[1].keys() == got[1].keys(), f"{ranks}: tensors differ: {differ[:5]}"


def check(work, emulation, ranks, steps):
    out = work / ranks
    groups = build(out, ranks)
    got, again = (trained(out, steps, name)[:2] for name in ("first", "second"))
    assert got == again, f"{ranks}: another run, other bits"
    same(ranks, got, emulation.trained(groups, steps))
    alone = trained(emulation.one, steps, "alone")[0]
    for (step, one), (_, have) in zip(alone, got[0]):
        assert math.isclose(real(one), real(have), rel_tol=1e-4), f"{ranks}: step {step}: {real(have)}, alone {real(one)}"
    print(f"{ranks}: {steps} steps, {len(got[1])} tensors, last loss bits {got[0][-1][1]}")


def go_on(work, emulation, first, ranks, steps):
    resume = ["--resume", work / first / "first"]
    groups = build(work / "next", ranks)
    losses, tensors, said = trained(work / "next", 2 * steps, "resumed", *resume)
    same(f"{first}, then {ranks}", (losses, tensors), emulation.trained(groups, 2 * steps, *resume))
    assert re.search("replicas .* here, 2 from .* in the checkpoint", said), said
    print(f"{first}, then {ranks}: the next {steps} steps, last loss bits {losses[-1][1]}")


def main():
    steps = int(STEPS)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        emulation = Emulation(work)
        for case in CASES.split(";"):
            first, *others = case.split(">")
            check(work, emulation, first, steps)
            for ranks in others:
                go_on(work, emulation, first, ranks, steps)


main()
