"""Training in bf16 beside training in f32: how close the losses are, and that checkpoints of either go on in the
other, because what they hold is f32.

  bf16.py STAGECC SOURCE_DIR
"""
import json
import pathlib
import subprocess
import sys
import tempfile

STAGECC, SOURCE = sys.argv[1:3]
DATA = f"idx:{SOURCE}/examples/digits/train"
RESNET = "-D DEPTH=18 -D IMAGE=16 -D CHANNELS=1 -D CLASSES=10".split()


def call(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stderr


def build(work, model, dtype, stages, *options):
    out = work / f"{model}-{dtype}"
    command = [STAGECC, "build", f"{SOURCE}/examples/{model}/{model}.c", "--stages", stages, "--dtype", dtype]
    call([*command, "--momentum", 0.9, "--batch", 16, "--micro-batches", 4, "-o", out, "--no-svg", *options])
    return out


def train(program, steps, *options):
    """Losses by step, and what was said."""
    log = program / "log.json"
    said = call([STAGECC, "run", program, "--data", DATA, "--steps", steps, "--log-json", log, *options])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "step" in line and "loss" in line}, said


def mean(losses, begin, end):
    return sum(losses[s] for s in range(begin, end)) / (end - begin)


def close(what, a, b, limit):
    assert abs(a - b) <= limit * b, f"{what}: {a} in bf16, {b} in f32"
    print(f"{what}: {a:.4f} in bf16, {b:.4f} in f32")


def types(checkpoint):
    found = set()
    for shard in checkpoint.glob("*.safetensors"):
        raw = shard.read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        found |= {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
    return found


def compare(work, model, lr, limit, *options):
    """The loss falls, and as far as in f32."""
    losses = {d: train(build(work, model, d, 2, "--lr", lr, *options), 40)[0] for d in ("f32", "bf16")}
    close(f"{model}, step 1", losses["bf16"][1], losses["f32"][1], 0.01)
    close(f"{model}, steps 31 to 40", mean(losses["bf16"], 31, 41), mean(losses["f32"], 31, 41), limit)
    assert mean(losses["bf16"], 31, 41) < 0.9 * mean(losses["bf16"], 1, 6)


def go_on(work):
    """Of the programs that compare built: one begins, the other goes on as the first would have."""
    programs = {d: work / f"mlp-{d}" for d in ("f32", "bf16")}
    for first, second in (("bf16", "f32"), ("f32", "bf16")):
        kept = work / f"kept-{first}"
        train(programs[first], 20, "--checkpoint", kept)
        assert types(kept / "step-000020") == {"F32"}, types(kept / "step-000020")
        own, said = train(programs[first], 30, "--resume", kept)
        assert "type" not in said, said
        other, said = train(programs[second], 30, "--resume", kept)
        wanted = f"type {second.upper()} here, {first.upper()} in the checkpoint"
        assert wanted in said, f"no `{wanted}` in: {said}"
        pair = (own, other) if first == "bf16" else (other, own)
        close(f"begun in {first}, steps 21 to 30", mean(pair[0], 21, 31), mean(pair[1], 21, 31), 0.02)


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        compare(work, "mlp", 0.05, 0.03)
        compare(work, "resnet", 0.01, 0.1, *RESNET)
        go_on(work)


if __name__ == "__main__":
    main()
