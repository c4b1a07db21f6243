"""Stages of several backends in one job: by --devices some programs work on the processor, others on a CUDA device, which
the processor emulates here.

  mixed.py STAGECC SOURCE_DIR
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402

STAGECC, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
PICTURES = (SOURCE / "tests/e2e/pictures.c", "synthetic:100", ["--batch", "16", "--micro-batches", "4"])
MLP = (SOURCE / "examples/mlp/mlp.c", f"idx:{SOURCE}/examples/digits/train", ["--batch", "40", "--micro-batches", "5", "--clip-norm", "0.1"])
STEPS, TOLERANCE = 8, 1e-5


def losses(out, model, data, options, *more):
    bits.run([STAGECC, "build", model, "-o", out, "--no-svg", *options, *more])
    log = out / "log.json"
    bits.run([STAGECC, "run", out, "--data", data, "--steps", STEPS, "--log-json", log])
    told = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["loss"] for line in told if "loss_bits" in line]


def close(case, work, backends):
    model, data, options = case
    name = "-".join((model.stem, *backends))
    file = bits.devices(work / f"{name}.json", *backends)
    want = losses(work / f"{name}-c", model, data, [*options, "--stages", len(backends), "--backend", "c"])
    have = losses(work / name, model, data, options, "--devices", file)
    stages = json.loads((work / name / "plan.json").read_text())["stages"]
    assert sorted(s["backend"] for s in stages) == sorted(backends), stages
    for s in stages:
        own = s["backend"]
        assert own == backends[s["devices"][0]] and (work / name / f"stage{s['id']}.cu").exists() == (own == "cuda"), s
    assert len(have) == STEPS and all(abs(a - b) <= TOLERANCE * abs(b) for a, b in zip(have, want)), f"{name}: {have}\nnot {want}"
    print(f"{name}: {have}", flush=True)


def refused(work):
    file = bits.devices(work / "norms.json", "c", "cuda")
    done = subprocess.run([STAGECC, "build", SOURCE / "tests/torch/cnn.c", "-o", work / "norms", "--devices", file, "--no-svg"], capture_output=True, text=True)
    wanted = "its batch norm is of images channels last, which those of a job with several backends are not"
    assert done.returncode == 1 and wanted in done.stderr, (done.returncode, done.stderr)
    print(done.stderr.splitlines()[0])


with tempfile.TemporaryDirectory() as folder:
    os.environ["STAGECC_CUDA"] = "emulated"
    here = pathlib.Path(folder)
    close(PICTURES, here, ("c", "cuda"))
    close(MLP, here, ("cuda", "c", "cuda"))
    refused(here)
