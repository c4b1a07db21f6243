"""Training with every codec of --transfer: fewer bytes on the edges that carry activations and gradients, and on no others;
losses close to those of `exact`; the same bits on every repetition, and in every synchronous schedule; a loss that is not finite
ends the run; a checkpoint of another codec is gone on from with a word about that.

  transfer.py STAGECC SOURCE_DIR MODEL STEPS CUTS [MODEL-OPTS ...]
CUTS: CODEC:STAGES:SCHEDULE[:SCHEDULE...],... ; the first, exact:STAGES:1f1b, is what the others are compared with.
STAGES is a number, or replicas by stage with + between them.
"""
import json
import math
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402

# Of float32 the part that travels, at most (rests of blocks aside), and how far off the first loss and the mean of the last five
# may be, in parts of them.
CODECS = {"exact": (1, 0, 0), "bf16": (0.51, 0.01, 0.05), "f16": (0.54, 0.002, 0.02), "int8": (0.29, 0.03, 0.1)}


def real(loss_bits):
    return struct.unpack(">f", bytes.fromhex(loss_bits))[0]


def trained(stagecc, out, steps, data, name):
    log = out / f"{name}.json"
    bits.run([stagecc, "run", out, "--data", data, "--steps", str(steps), "--log-json", log, "--checkpoint", out / name])
    return bits.losses(log), bits.tensors(out / name / f"step-{steps:06}")


def build(stagecc, model, codec, stages, schedule, options, out):
    cut = ["--stages", stages]
    if codec != "exact":  # cut in the same places
        cut = ["--plan", out.parent / f"exact-{stages}-1f1b"]
    elif "+" in stages:
        cut = ["--stage_to_num_ranks", ",".join(f"{i}:{n}" for i, n in enumerate(stages.split("+")))]
    bits.run([stagecc, "build", model, *cut, "--schedule", schedule, "--transfer", codec, "-o", out, "--no-svg", *options])
    plan = json.loads((out / "plan.json").read_text())
    assert plan["options"]["transfer"] == codec
    return {e["name"]: e["bytes"] for e in plan["edges"]}


def check_edges(codec, edges, exact, of_float):
    """What travels encoded is called `TENSOR.sent`; all else is as it is with `exact`, this part of float32."""
    for name, size in edges.items():
        if not name.endswith(".sent"):
            assert exact.get(name) == size, f"{codec}: {name} has {size} bytes, {exact.get(name)} with exact"
            continue
        whole = exact[name.removesuffix(".sent")]
        assert size <= CODECS[codec][0] * whole / of_float or whole <= 256, f"{codec}: {name}: {size} of {whole} bytes"
    left = exact.keys() - {name.removesuffix(".sent") for name in edges}
    assert not left, f"{codec}: {left} are not sent"


def check_losses(name, codec, losses, exact):
    first, last = (abs(a / b - 1) for a, b in ((losses[0], exact[0]), (sum(losses[-5:]), sum(exact[-5:]))))
    print(f"{name}: losses {losses[0]:.6f} .. {losses[-1]:.6f}, off by {first:.2e} at first, {last:.2e} at last")
    assert first <= CODECS[codec][1] and last <= CODECS[codec][2], f"{name}: too far off"


def check_resumed(stagecc, out, steps, data, exact):
    """A run that goes on from what was trained with `exact` says what is different."""
    command = [stagecc, "run", out, "--data", data, "--steps", str(steps + 1), "--resume", exact / "once"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and re.search("transfers int8 before .* here, none in the checkpoint", done.stderr), done.stderr


def write_npy(path, kind, shape, numbers):
    head = f"{{'descr': '<{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    code = {"f4": "f", "i4": "i"}[kind]
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack(f"<{len(numbers)}{code}", *numbers))


def check_not_finite(stagecc, out, work):
    """One pixel of one image is NaN: no codec hides that."""
    plan = json.loads((out / "plan.json").read_text())
    samples, pixels = plan["batch"], 64
    write_npy(work / "x.npy", "f4", (samples, 1, 8, 8), [0.5] * (samples * pixels - 1) + [math.nan])
    write_npy(work / "y.npy", "i4", (samples,), [1] * samples)
    command = [stagecc, "run", out, "--data", f"npy:{work}/x.npy,{work}/y.npy", "--steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 5 and "is nan at step 1" in done.stderr, f"{out.name}: {done.returncode} {done.stderr}"


def main():
    stagecc, source, model, steps, cuts, *options = sys.argv[1:]
    data, steps = f"idx:{source}/examples/digits/train", int(steps)
    with tempfile.TemporaryDirectory() as folder:
        work, reference, edges = pathlib.Path(folder), None, {}
        for cut in cuts.split(","):
            codec, stages, *schedules = cut.split(":")
            same = None
            for schedule in schedules:
                out = work / f"{codec}-{stages}-{schedule}"
                found = build(stagecc, model, codec, stages, schedule, options, out)
                if codec == "exact":
                    edges[stages] = found
                else:
                    check_edges(codec, found, edges[stages], 0.5 if "bf16" in options else 1)
                for again in ("once", "again"):
                    got = trained(stagecc, out, steps, data, again)
                    same = same or got
                    assert got == same, f"{cut}: {schedule} differs, run {again}"
            losses = [real(loss) for _, loss in same[0]]
            reference = reference or losses
            check_losses(cut, codec, losses, reference)
            check_not_finite(stagecc, out, work)
            if codec == "int8":
                check_resumed(stagecc, out, steps, data, work / f"exact-{stages}-1f1b")


if __name__ == "__main__":
    main()
