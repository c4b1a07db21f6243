"""Stages of several backends in one job: by --devices some programs work on the processor, others on a CUDA device, which
the processor emulates here.

  mixed.py STAGECC SOURCE_DIR
"""
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402

STAGECC, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
PICTURES = (SOURCE / "tests/e2e/pictures.c", "synthetic:100", ["--batch", "16", "--micro-batches", "4"])
MLP = (SOURCE / "examples/mlp/mlp.c", f"idx:{SOURCE}/examples/digits/train", ["--batch", "40", "--micro-batches", "5", "--clip-norm", "0.1"])
# Residual blocks with batch norm, whose sums are of planes.
CNN = (SOURCE / "tests/torch/cnn.c", "synthetic:64", ["--batch", "16", "--micro-batches", "4", "--momentum", "0.9"])
TOGETHER = (*CNN[:2], [*CNN[2], "--batch-norm", "synchronised"])
STEPS, TOLERANCE = 8, 1e-5


def build(out, model, *options):
    bits.run([STAGECC, "build", model, "-o", out, "--no-svg", *options])


def losses(out, data):
    """(the loss, its bits) of every step"""
    log = out / "log.json"
    bits.run([STAGECC, "run", out, "--data", data, "--steps", STEPS, "--log-json", log])
    told = [json.loads(line) for line in log.read_text().splitlines()]
    return [(line["loss"], line["loss_bits"]) for line in told if "loss_bits" in line]


def close(case, work, backends, ranks=None):
    """The losses of the c backend alone, and the same bits in every run. backends: of the devices, each of which has a stage if
    `ranks` does not say how many have one."""
    model, data, options = case
    name = "-".join((model.stem, *backends))
    file = bits.devices(work / f"{name}.json", *backends)
    replicas = ["--stage_to_num_ranks", ranks] if ranks else []
    build(work / f"{name}-c", model, *options, "--backend", "c", *(replicas or ["--stages", len(backends)]))
    build(work / name, model, *options, "--devices", file, *replicas)
    stages = json.loads((work / name / "plan.json").read_text())["stages"]
    assert sorted(d for s in stages for d in s["devices"]) == list(range(len(backends))), stages
    for s in stages:
        own = s["backend"]
        assert {backends[d] for d in s["devices"]} == {own} and (work / name / f"stage{s['id']}.cu").exists() == (own == "cuda"), s
    want, have, again = losses(work / f"{name}-c", data), losses(work / name, data), losses(work / name, data)
    assert len(have) == STEPS and all(abs(a - b) <= TOLERANCE * abs(b) for (a, _), (b, _) in zip(have, want)), f"{name}: {have}\nnot {want}"
    assert have == again, f"{name}: {have}\nand {again}"
    print(f"{name}: {[loss for loss, _ in have]}", flush=True)


with tempfile.TemporaryDirectory() as folder:
    os.environ["STAGECC_CUDA"] = "emulated"
    here = pathlib.Path(folder)
    close(PICTURES, here, ("c", "cuda"))
    close(MLP, here, ("cuda", "c", "cuda"))
    close(CNN, here, ("c", "cuda"))
    close(CNN, here, ("cuda", "c"))
    close(TOGETHER, here, ("cuda", "cuda", "c"), "0:2,1:1")
