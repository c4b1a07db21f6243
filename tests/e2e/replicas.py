"""Replicated stages give the same bits on every repetition, and those of one process that adds the micro-batches
up in the same groups (tests/e2e/grouped.c); without groups the losses are nearly the same.

  replicas.py STAGECC SOURCE_DIR MODEL STEPS RANKS[;RANKS...] [MODEL-OPTS ...]
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


def real(loss_bits):
    return struct.unpack(">f", bytes.fromhex(loss_bits))[0]


def emulated(stagecc, source, model, options, stages, steps, data, work):
    """Losses and tensors of the one-stage program in groups, and its losses without."""
    one, program = work / "one", work / "grouped"
    bits.run([stagecc, "build", model, "--stages", "1", "-o", one, "--no-svg", *options])
    with open(work / "groups", "w") as file:
        for path, replicas in stages:
            for name in re.findall(r'\{"([^"]+)", RT_(?:ACCUMULATOR|BUFFER)', path.read_text()):
                file.write(f"{name} {replicas}\n")
    compile_line = re.search(r"^//   compile  (.*)$", (one / "stage0.c").read_text(), re.M).group(1)
    words = compile_line.replace(" stage0.c ", f" {source}/tests/e2e/grouped.c ").split()
    words[words.index("-o") + 1] = str(program)
    words[1:1] = [f"-I{source}", f'-DPROGRAM="{one}/stage0.c"', "-D_GNU_SOURCE"]
    bits.run(words)
    command = [program, "--data", data, "--steps", str(steps), "--checkpoint", work / "ckpt"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GROUPS": str(work / "groups")})
    assert done.returncode == 0, done.stderr
    losses = [(int(step), loss) for step, loss in (line.split() for line in done.stdout.splitlines())]
    alone = [(step, real(loss)) for step, loss in trained(stagecc, one, steps, data, "alone")[0]]
    return losses, bits.tensors(work / "ckpt" / f"step-{steps:06}"), alone


def trained(stagecc, out, steps, data, name):
    log = out / f"{name}.json"
    bits.run([stagecc, "run", out, "--data", data, "--steps", str(steps), "--log-json", log, "--checkpoint", out / name])
    return bits.losses(log), bits.tensors(out / name / f"step-{steps:06}")


def main():
    stagecc, source, model, steps, cases, *options = sys.argv[1:]
    data, steps = f"idx:{source}/examples/digits/train", int(steps)
    for ranks in cases.split(";"):
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            out = work / "out"
            bits.run([stagecc, "build", model, "--stage_to_num_ranks", ranks, "-o", out, "--no-svg", *options])
            plan = json.loads((out / "plan.json").read_text())
            stages = [(out / f"stage{s['id']}.c", s["replicas"]) for s in plan["stages"]]
            got, again = (trained(stagecc, out, steps, data, name) for name in ("first", "second"))
            assert got == again, f"{ranks}: another run, other bits"
            want = emulated(stagecc, source, model, options, stages, steps, data, work)
            assert want[0] == got[0], f"{ranks}: losses {got[0]}, and in groups {want[0]}"
            differ = [name for name in want[1] if want[1][name] != got[1].get(name)]
            assert not differ and want[1].keys() == got[1].keys(), f"{ranks}: tensors differ: {differ[:5]}"
            for (step, one), (_, have) in zip(want[2], got[0]):
                assert math.isclose(one, real(have), rel_tol=1e-4), f"{ranks}: step {step}: {real(have)}, alone {one}"
            print(f"{ranks}: {steps} steps, {len(got[1])} tensors, last loss bits {got[0][-1][1]}")


main()
