"""GNMT learns to copy words of various lengths, and a cut changes no bit.

  gnmt.py STAGECC SOURCE_DIR
"""
import json
import pathlib
import random
import sys
import tempfile

from arrays import write_rows
from bits import run

WORDS, LONGEST, SAMPLES, STEPS, MOST_LOSS = 10, 5, 512, 1000, 0.1
PAD, BEGIN, END, FIRST = 0, 1, 2, 3
SIZES = {"VOCAB": FIRST + WORDS, "HIDDEN": 32, "LAYERS": 3, "SOURCE": LONGEST, "TARGET": LONGEST + 1,
         "DROPOUT": 0, "SMOOTHING": 0}


def padded(words, length, fill):
    return words + [fill] * (length - len(words))


def write_data(folder):
    rng = random.Random(5)
    texts = [[FIRST + rng.randrange(WORDS) for _ in range(rng.randint(1, LONGEST))] for _ in range(SAMPLES)]
    arrays = {
        "source": [padded(t, LONGEST, PAD) for t in texts],
        "source_length": [len(t) for t in texts],
        "tokens": [padded([BEGIN] + t, LONGEST + 1, PAD) for t in texts],
        "next": [padded(t + [END], LONGEST + 1, -1) for t in texts],
    }
    for name, rows in arrays.items():
        write_rows(folder / f"{name}.npy", rows)
    return "npy:" + ",".join(f"{name}={folder}/{name}.npy" for name in arrays)


def losses(log):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [(line["loss"], line["loss_bits"]) for line in lines if "loss_bits" in line and "step" in line]


def main():
    stagecc, source = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder, curves = pathlib.Path(name), []
        data = write_data(folder)
        for stages, steps in ((1, STEPS), (3, 10)):
            out = folder / str(stages)
            defines = [w for k, v in SIZES.items() for w in ("-D", f"{k}={v}")]
            run([stagecc, "build", f"{source}/examples/gnmt/gnmt.c", *defines, "--stages", stages, "--batch", 32,
                 "--micro-batches", 2, "--warmup", 20, "--lr", 0.005, "--no-svg", "-o", out])
            run([stagecc, "run", out, "--data", data, "--steps", steps, "--log-json", out / "log.json"])
            curves.append(losses(out / "log.json"))
        for step, (want, have) in enumerate(zip(*curves)):
            assert want == have, f"step {step + 1}: {want} in one stage, {have} in three"
        last = sum(loss for loss, _ in curves[0][-10:]) / 10
        print(f"loss {curves[0][0][0]:.3f}, after {STEPS} steps {last:.4f}; {len(curves[1])} steps alike in three stages")
        assert last < MOST_LOSS, "it did not learn to copy"


main()
