"""Loss and gradients of single steps against PyTorch's (tests/torch, made by reference.py).

  torch.py STAGECC SOURCE_DIR BACKEND
Every step starts from PyTorch's state (--init). Gradients are read off one step of plain SGD with a
learning rate of 2^10: g = (w - w') / 2^10, exact to the rounding of w'.
"""
import array
import json
import math
import pathlib
import subprocess
import sys
import tempfile

LR = 1024.0
NOISE = 1e-6


def read_safetensors(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    kind = {"F32": "f", "F64": "d"}
    found = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__" and entry["dtype"] in kind:
            begin, end = entry["data_offsets"]
            found[name] = array.array(kind[entry["dtype"]], raw[8 + size + begin : 8 + size + end])
    return found


def read_checkpoint(folder):
    found = {}
    for shard in folder.glob("step-*/stage-*.safetensors"):
        found.update(read_safetensors(shard))
    return found


def norm(values):
    return math.sqrt(math.fsum(v * v for v in values))


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}{done.stderr}")


def train(stagecc, out, folder, init, extra):
    log = out / "log.json"
    run([stagecc, "run", out, "--data", f"npy:{folder}/x.npy,{folder}/y.npy", "--init", init, "--log-json", log, *extra])
    return [json.loads(line)["loss"] for line in log.read_text().splitlines() if '"loss_bits"' in line]


def check_steps(stagecc, backend, model, folder, batch, work):
    out = work / f"{model.stem}-{backend}"
    run([stagecc, "build", model, "--backend", backend, "--batch", batch, "--micro-batches", 1, "--lr", LR, "--no-svg", "-o", out])
    want = json.loads((folder / "losses.json").read_text())["float32"]
    worst_loss = worst_grad = 0.0
    for step in range(10):
        init = folder / f"state-{step}.safetensors"
        ckpt = out / f"ckpt-{step}"
        loss = train(stagecc, out, folder, init, ["--steps", 1, "--checkpoint", ckpt])[0]
        worst_loss = max(worst_loss, abs(loss - want[step]) / abs(want[step]))
        before, after = read_safetensors(init), read_checkpoint(ckpt)
        grads = read_safetensors(folder / f"grads-{step}.safetensors")
        whole = norm([norm(g) for g in grads.values()])
        for name, grad in grads.items():
            mine = [(b - a) / LR for b, a in zip(before[name], after[name])]
            if norm(grad) < NOISE * whole:  # zero but for rounding, like a bias before batch norm: so must ours be
                assert norm(mine) < NOISE * whole, f"{name}: {norm(mine)} where PyTorch has {norm(grad)}"
                continue
            worst_grad = max(worst_grad, norm([m - g for m, g in zip(mine, grad)]) / norm(grad))
    print(f"{model.stem} {backend}: worst loss error {worst_loss:.2e}, worst gradient error {worst_grad:.2e}")
    assert worst_loss <= 1e-5 and worst_grad <= 1e-4


def check_free_run(stagecc, model, folder, batch, work):
    reference = json.loads((folder / "losses.json").read_text())
    out = work / f"{model.stem}-f64"
    run([stagecc, "build", model, "--backend", "ref", "--dtype", "f64", "--batch", batch, "--micro-batches", 1, "--lr", reference["lr"],
         "--momentum", reference["momentum"], "--no-svg", "-o", out])
    got = train(stagecc, out, folder, folder / "state-0.safetensors", ["--steps", 10])
    worst = max(abs(a - b) / abs(b) for a, b in zip(got, reference["float64"]))
    print(f"{model.stem} f64 free run: worst loss error {worst:.2e} over {len(got)} steps")
    assert len(got) == 10 and worst <= 1e-9


def main():
    stagecc, source, backend = sys.argv[1:]
    base = pathlib.Path(source) / "tests/torch"
    with tempfile.TemporaryDirectory() as folder:
        for name, batch in (("mlp", 16), ("cnn", 8), ("transformer", 4)):
            work, model = pathlib.Path(folder), base / f"{name}.c"
            if backend == "f64":
                check_free_run(stagecc, model, base / name, batch, work)
            else:
                check_steps(stagecc, backend, model, base / name, batch, work)


main()
