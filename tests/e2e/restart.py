"""Programs that are killed: all go on from their last step, with the bits of a run that nobody disturbed.

  restart.py STAGECC SOURCE_DIR [WORD...]
WORDs: options of every build.
"""
import json
import mmap
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time

STAGECC, SOURCE, *MORE = sys.argv[1:]
MODEL = """#include <stagecc/model.h>

MODEL(small)
{
    Tensor x = input("image", F32, 1, 16, 16);
    for (int i = 0; i < 3; i++)
        x = relu(batch_norm(conv2d(x, 8, .kernel = 3, .padding = 1, .bias = false)));
    x = relu(linear(dropout(flatten(x), 0.2), 256)); // whose update takes long enough to be met
    loss(cross_entropy(linear(x, 10), target("label", I32)));
}
"""
# As plan/stream.h numbers them, and plan/segment.h lays them out.
OPCODES = ["acquire", "recv", "send", "release", "load", "forward", "backward", "backward_weight", "backward_part", "reduce_put", "reduce_sum", "reduce_get", "share_put",
           "share_get", "norm_gather", "norm_apply", "update", "eval"]
HEADER, STATUS = 256, 320
STEPS, REHEARSE = 8, 30
ANYWHERE = os.environ.get("ANYWHERE")  # no instruction is waited for


def build(out, *options):
    model = out.parent / "model.c"
    model.write_text(MODEL)
    words = [STAGECC, "build", model, "--batch", 24, "--micro-batches", 4, "--optimizer", "adam", "--clip-norm", 1, "--isa", "avx2", "--no-svg", "-o", out, *MORE, *options]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run_command(out, name, *options):
    words = [STAGECC, "run", out, "--data", "synthetic:100", "--steps", STEPS, "--log-json", out / f"{name}.json", "--checkpoint", out / name, "--rehearse", REHEARSE, *options]
    return [str(w) for w in words]


def result(out, name):
    """Losses by step, and the bytes of the last checkpoint."""
    lines = [json.loads(line) for line in (out / f"{name}.json").read_text().splitlines()]
    losses = {}
    for line in (l for l in lines if "loss_bits" in l and "step" in l):
        assert losses.setdefault(line["step"], line["loss_bits"]) == line["loss_bits"], f"step {line['step']} has two losses"
    files = {f.name: f.read_bytes() for f in (out / name / f"step-{STEPS:06d}").iterdir() if f.suffix == ".safetensors"}
    assert len(losses) == STEPS, losses
    return losses, files


def job_memory(launcher):
    """The statuses of all ranks, as soon as the launcher has made them."""
    while launcher.poll() is None:
        for fd in pathlib.Path(f"/proc/{launcher.pid}/fd").iterdir():
            try:
                if "stagecc-job" in os.readlink(fd):
                    with open(fd, "r+b") as file:
                        return mmap.mmap(file.fileno(), 0)
            except (OSError, ValueError):  # gone, or without a size yet
                continue
    raise AssertionError("the launcher has ended")


def kill_at(launcher, rank, opcode, step):
    """SIGKILL when the rank is in such an instruction of that step; opcode -1: between two, None: wherever it is."""
    memory = job_memory(launcher)
    deadline = time.monotonic() + 60
    while launcher.poll() is None and time.monotonic() < deadline:
        pid, now, _, _, _, _, done = struct.unpack_from("<6iq", memory, HEADER + rank * STATUS)
        if pid > 0 and (ANYWHERE or opcode in (now, None)) and done >= step:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def check(out, what, kills, *options):
    """Kill once for each, one start after the other; then compare with the run that was left alone."""
    name = f"killed-{what}"
    with subprocess.Popen(run_command(out, name, "--restarts", len(kills), *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as launcher:
        for rank, opcode, step in kills:
            assert kill_at(launcher, rank, opcode, step), f"{what}: rank {rank} was never in {opcode}, step {step}"
            time.sleep(0.3)  # until the next start has a memory of its own
        told = launcher.communicate(timeout=120)[1]
    assert launcher.returncode == 0, told
    assert told.count("all go on from their last step") == len(kills), told
    assert result(out, name) == result(out, "alone"), f"{what}: other losses or another checkpoint"
    print(f"{out.name}: {what}: the same bits")


def check_schedule(folder, name, ranks, opcodes, *options):
    out = folder / name
    build(out, *options)
    subprocess.run(run_command(out, "alone"), check=True, capture_output=True)
    longest = max(json.loads((out / "plan.json").read_text())["stages"], key=lambda s: s["update_s"])["id"]
    for opcode in opcodes:
        kills = [longest] * 2 if opcode == "update" else ranks[:2]
        check(out, opcode, [(rank, OPCODES.index(opcode), 2 + 3 * i) for i, rank in enumerate(kills)])
    return out


def check_long_stream(folder):
    """Killed after several updates behind a drain, the stage of one version of the weights has the drain's state still."""
    out = folder / "long"
    build(out, "--stages", 3, "--schedule", "pipedream", "--drain-every", 4, "--clip-norm", 0)
    subprocess.run(run_command(out, "alone"), check=True, capture_output=True)
    check(out, "late", [(2, None, 7)])
    steps = [line["step"] for line in map(json.loads, (out / "killed-late.json").read_text().splitlines()) if "loss_bits" in line and "step" in line]
    # An epoch has five steps, of which the last is a short one: drains lie behind 4, 5 and 8.
    assert steps.count(6) == 2 and steps.count(5) == 1, f"it went on elsewhere than behind step 5: {steps}"


def check_launcher(out):
    """The launcher is killed, and its programs with it; a second run finds their states."""
    state = out.parent / "states"
    with subprocess.Popen(run_command(out, "again", "--state", state), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        memory = job_memory(first)
        while struct.unpack_from("<q", memory, HEADER + 24)[0] < 4:
            assert first.poll() is None
        first.kill()
    time.sleep(0.3)
    subprocess.run(run_command(out, "again", "--state", state), check=True, capture_output=True)
    lines = [json.loads(line) for line in (out / "again.json").read_text().splitlines()]
    steps = {l["step"]: l["loss_bits"] for l in lines if "loss_bits" in l and "step" in l}
    alone, files = result(out, "alone")
    assert 3 <= min(steps) <= 5 and all(alone[s] == bits for s, bits in steps.items()), f"{steps}, undisturbed {alone}"
    assert files == {f.name: f.read_bytes() for f in (out / "again" / f"step-{STEPS:06d}").iterdir() if f.suffix == ".safetensors"}
    print(f"{out.name}: a second launcher went on at step {min(steps)}")
    other = out.parent / "other"
    build(other, "--stages", 3, "--batch", 12)
    done = subprocess.run(run_command(other, "again", "--state", state), capture_output=True, text=True)
    assert done.returncode == 1 and "holds the state of other programs: remove it" in done.stderr, done.stderr


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    out = check_schedule(folder, "1f1b", [0, 1, 2], ["recv", "forward", "backward", "update"], "--stages", 3)
    check_launcher(out)
    check_schedule(folder, "replicas", [0, 1, 2], ["backward"], "--stage_to_num_ranks", "0:2,1:1")
    check_schedule(folder, "pipedream", [2, 1, 0], ["forward"], "--stages", 3, "--schedule", "pipedream", "--drain-every", 2, "--clip-norm", 0)
    check_long_stream(folder)
