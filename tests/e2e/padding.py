"""BERT does not see what lies behind the end of a sample: padded to more tokens it has the same losses.

  padding.py STAGECC SOURCE_DIR
"""
import json
import pathlib
import random
import sys
import tempfile

from arrays import write_rows
from bits import run

SAMPLES, SHORT, LONG, VOCAB, STEPS = 4, 10, 16, 50, 4
SIZES = f"LAYERS=2 DIM=32 HEADS=4 POSITIONS=32 VOCAB={VOCAB} TIED=0 DROPOUT=0"


def write_data(folder, length):
    """Samples of SHORT tokens in rows of `length`; behind them are words that differ, and no labels."""
    rng, other = random.Random(3), random.Random(length)
    folder.mkdir()
    tokens = [[rng.randrange(VOCAB) for _ in range(SHORT)] for _ in range(SAMPLES)]
    masked = [[rng.choice([-1, rng.randrange(VOCAB)]) for _ in range(SHORT)] for _ in range(SAMPLES)]
    arrays = {"tokens": [t + [other.randrange(VOCAB) for _ in range(length - SHORT)] for t in tokens],
              "length": [SHORT] * SAMPLES, "masked": [m + [-1] * (length - SHORT) for m in masked]}
    for name, rows in arrays.items():
        write_rows(folder / f"{name}.npy", rows)
    return "npy:" + ",".join(f"{name}={folder}/{name}.npy" for name in arrays)


def losses(stagecc, source, folder, length, *options):
    data, out = write_data(folder, length), folder / "out"
    sizes = [w for m in f"{SIZES} T={length}".split() for w in ("-D", m)]
    run([stagecc, "build", source / "examples/bert/bert.c", *sizes, "--batch", SAMPLES, "--micro-batches", 2, "--lr", 0.01, "--warmup", 0, "--no-svg", *options, "-o", out])
    run([stagecc, "run", out, "--data", data, "--steps", STEPS, "--log-json", out / "log.json"])
    return [json.loads(line)["loss"] for line in (out / "log.json").read_text().splitlines() if '"loss_bits"' in line]


def main():
    stagecc, source, wrong = sys.argv[1], pathlib.Path(sys.argv[2]), False
    with tempfile.TemporaryDirectory() as name:
        for what, most, options in (("ref in double", 1e-12, ["--backend", "ref", "--dtype", "f64"]), ("c in 3 stages", 1e-5, ["--stages", 3])):
            short, long = (losses(stagecc, source, pathlib.Path(name) / f"{what}{t}", t, *options) for t in (SHORT, LONG))
            off = max(abs(a - b) / a for a, b in zip(short, long))
            good = len(short) == len(long) == STEPS and off <= most and short[-1] < short[0]
            print(f"{what}: {SHORT} tokens {short}, in {LONG} {long}: {off:.1e}" + ("" if good else " WRONG"))
            wrong |= not good
    sys.exit(wrong)


main()
