"""Programs of the cuda backend, which STAGECC_CUDA=emulated runs on this processor, beside those of ref in double: losses of training
and of evaluation. With STAGECC_LONG, all models.

  cuda.py STAGECC SOURCE_DIR
"""
import json
import os
import pathlib
import sys
import tempfile

from bits import run

STEPS = 4
MLP = ["examples/mlp/mlp.c", "--batch", 16, "--momentum", 0.9, "--clip-norm", 1]
GPT = ["examples/gpt/gpt.c", "-D", "LAYERS=2", "-D", "DIM=32", "-D", "HEADS=2", "-D", "T=16", "--batch", 4, "--optimizer", "adamw",
       "--weight-decay", 0.1, "--lr", 0.01]
CNN = ["tests/torch/cnn.c", "--batch", 4, "--momentum", 0.9]
SERIES = ["tests/e2e/series.c", "--batch", 8, "--momentum", 0.9]
GNMT = ["examples/gnmt/gnmt.c", "-D", "VOCAB=40", "-D", "HIDDEN=16", "-D", "LAYERS=2", "-D", "SOURCE=6", "-D", "TARGET=5", "--batch", 4,
        "--optimizer", "adam", "--lr", 0.01]
# name, model, number of stages, options, relative error
RUNS = [
    ("mlp", MLP, 1, [], 1e-5),
    ("mlp in 3 stages, int8 between them", MLP, 3, ["--transfer", "int8"], 1e-2),
    ("mlp, stale weights", MLP, 2, ["--schedule", "pipedream", "--clip-norm", 0], None),
    ("cnn in 2 stages", CNN, 2, [], 1e-4),
    ("cnn in 2 replicas that share statistics", CNN, None, ["--stage_to_num_ranks", "0:2", "--batch-norm", "synchronised"], 1e-4),
    ("series in 2 replicas that share statistics", SERIES, None, ["--stage_to_num_ranks", "0:2", "--batch-norm", "synchronised"], 1e-4),
    ("gnmt", GNMT, 1, [], 1e-5),
    ("gpt", GPT, 1, [], 1e-5),
    ("gpt of 61 tokens in 2 stages, in bf16", [*GPT, "-D", "VOCAB=61"], 2, ["--dtype", "bf16"], 1e-2),
    ("cnn, in bf16", CNN, 1, ["--dtype", "bf16"], 2e-2),
]
LATER = {"mlp", "mlp, stale weights", "cnn in 2 stages", "gpt"}  # with STAGECC_LONG only


def numbers(log):
    """Losses of steps and evaluations, in order."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line.get("test_loss", line.get("loss")) for line in lines if "step" in line]


def losses(stagecc, source, folder, backend, model, stages, options):
    path, *rest = model
    cut = ["--stages", stages] if stages else []
    run([stagecc, "build", source / path, *rest, "--micro-batches", 2, "--backend", backend, *cut, "--no-svg", "-o", folder, *options])
    run([stagecc, "run", folder, "--data", "synthetic:64", "--test-data", "synthetic:16", "--eval-every", 2, "--steps", STEPS,
         "--log-json", folder / "log.json"])
    return numbers(folder / "log.json")


def main():
    stagecc, source = sys.argv[1], pathlib.Path(sys.argv[2])
    failed = False
    with tempfile.TemporaryDirectory() as work:
        runs = [r for r in RUNS if r[0] not in LATER or os.environ.get("STAGECC_LONG")]
        for i, (name, model, stages, options, limit) in enumerate(runs):
            same = options if limit is None or not stages else []  # what other weights or statistics make are other numbers in both
            want = losses(stagecc, source, pathlib.Path(work) / f"{i}-ref", "ref", model, stages if same else 1,
                          [*same, "--dtype", "f64"])
            got = losses(stagecc, source, pathlib.Path(work) / f"{i}-cuda", "cuda", model, stages, options)
            assert len(got) == len(want) == STEPS + STEPS // 2, f"{name}: {len(got)} of {len(want)} losses"
            worst = max(abs(a - b) / abs(b) for a, b in zip(got, want))
            good = worst <= (limit or 1e-5)
            failed |= not good
            print(f"{name}: {len(got)} losses, worst error {worst:.1e}{'' if good else ': TOO FAR'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
