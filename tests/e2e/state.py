"""What a user sees when files are wrong: the exact text, exit status 1 or 2, nothing half-loaded, and the old
checkpoints as they were. And what resuming must keep: every bit, under any number of stages, after any crash.

  state.py STAGECC SOURCE_DIR FULL_DISK_LIBRARY
"""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from bits import tensors

STAGECC, SOURCE, FULL_DISK = sys.argv[1:4]
DIGITS = pathlib.Path(SOURCE) / "examples/digits"
DATA = f"idx:{DIGITS}/train"


def build(out, stages, *options):
    command = [STAGECC, "build", f"{SOURCE}/examples/mlp/mlp.c", "--backend", "ref", "--stages", str(stages), "--no-svg", "-o", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def run(program, *options, env=None):
    """(exit status, stderr, lines of the log)"""
    log = program / "log.json"
    log.unlink(missing_ok=True)
    command = [STAGECC, "run", str(program), "--log-json", str(log), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **(env or {})))
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return done.returncode, done.stderr, lines


def trained(program, *options):
    status, stderr, log = run(program, *options)
    assert status == 0, stderr
    return log


def bits(log):
    return {line["step"]: line["loss_bits"] for line in log if "loss_bits" in line}


def tree(folder):
    """{name: hash} of all files below a folder."""
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.rglob("*")) if f.is_file()}


def refused(what, work, program, text, *options, status=1):
    got, stderr, log = run(program, *options)
    stderr = stderr.replace(str(work), "WORK")
    assert got == status, f"{what}: exit status {got}\n{stderr}"
    assert stderr == f"stagecc: error: {text}\n", f"{what}: it says\n{stderr}and not\nstagecc: error: {text}"
    assert not bits(log), f"{what}: it trained"


# Data


def wrong_data(work, program):
    images, labels = (DIGITS / "train-images.idx3-ubyte").read_bytes(), (DIGITS / "train-labels.idx1-ubyte").read_bytes()
    n = len(labels) - 8
    prefix = work / "bad"
    cases = [
        ("truncated images", images[:5000], labels, f"images.idx3-ubyte: truncated: 5000 bytes, its header (offset 4) promises {len(images)}"),
        ("truncated header", images[:10], labels, "images.idx3-ubyte: truncated: 10 bytes, the IDX header alone has 16"),
        ("longer images", images + b"x", labels, f"images.idx3-ubyte: too long: {len(images) + 1} bytes, its header (offset 4) promises {len(images)}"),
        ("altered magic", b"\0\0\x09" + images[3:], labels,
         "images.idx3-ubyte: offset 0: not IDX with 3 dimensions of bytes: magic 0x00000903, expected 0x00000803"),
        ("truncated labels", images, labels[:-1], f"labels.idx1-ubyte: truncated: {len(labels) - 1} bytes, its header (offset 4) promises {len(labels)}"),
        ("fewer labels", images, labels[:4] + (5).to_bytes(4, "big") + labels[8:13],
         f"labels.idx1-ubyte: offset 4: 5 labels for {n} images in WORK/bad-images.idx3-ubyte"),
        ("altered labels", images, labels[:8] + b"\x0c" * n, None),
    ]
    for what, image_bytes, label_bytes, text in cases:
        pathlib.Path(f"{prefix}-images.idx3-ubyte").write_bytes(image_bytes)
        pathlib.Path(f"{prefix}-labels.idx1-ubyte").write_bytes(label_bytes)
        if text:
            refused(what, work, program, f"WORK/bad-{text}", "--data", f"idx:{prefix}", "--steps", 3)
    # Every label is 12: found when the first of them is read.
    status, stderr, log = run(program, "--data", f"idx:{prefix}", "--steps", 3)
    assert status == 1 and not bits(log), stderr
    assert "bad-labels.idx1-ubyte: offset " in stderr and stderr.endswith(": class or token 12, the model has 10 (0 to 9)\n"), stderr
    refused("missing file", work, program, "WORK/none-images.idx3-ubyte: No such file or directory", "--data", f"idx:{work}/none", "--steps", 3)
    refused("too few samples", work, program, "synthetic:0: no samples", "--data", "synthetic:0", "--steps", 3)


# Checkpoints


def flip(path, offset):
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)


def where(path, tensor):
    """Offset of a tensor in a safetensors file."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    return 8 + size + json.loads(raw[8 : 8 + size])[tensor]["data_offsets"][0]


def damaged_checkpoints(work, program):
    whole = work / "ckpt"
    trained(program, "--data", DATA, "--steps", 4, "--checkpoint", whole, "--checkpoint-every", 2)
    assert sorted(p.name for p in whole.iterdir()) == ["step-000002", "step-000004"]
    bad, step = work / "bad", work / "bad/step-000004"
    stage, optim = "stage-1.safetensors", "optim-0.safetensors"
    size = (whole / "step-000004" / stage).stat().st_size
    weight = where(whole / "step-000004" / stage, "hidden2.weight")
    momentum = where(whole / "step-000004" / optim, "hidden1.weight.momentum")
    cases = [
        ("truncated", lambda: os.truncate(step / stage, 1000), f"{stage}: offset 1000: truncated here, manifest.json says {size} bytes"),
        ("empty", lambda: os.truncate(step / stage, 0), f"{stage}: offset 0: truncated here, manifest.json says {size} bytes"),
        ("longer", lambda: os.truncate(step / stage, size + 5), f"{stage}: offset {size}: 5 bytes more than manifest.json says"),
        ("missing", lambda: (step / stage).unlink(), f"{stage}: No such file or directory"),
        ("altered weight", lambda: flip(step / stage, weight + 7), f"{stage}: offset {weight}: tensor hidden2.weight was altered (CRC32C "),
        ("altered momentum", lambda: flip(step / optim, momentum), f"{optim}: offset {momentum}: tensor hidden1.weight.momentum was altered (CRC32C "),
        ("altered header", lambda: flip(step / stage, 8), f"{stage}: offset 8: the header does not begin with '{{'"),
        ("altered index", lambda: flip(step / "model.safetensors.index.json", 30), "model.safetensors.index.json: offset 0: the file was altered (CRC32C "),
        ("truncated manifest", lambda: os.truncate(step / "manifest.json", 100), "manifest.json: offset "),
    ]
    for what, damage, text in cases:
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(whole, bad)
        damage()
        before = tree(bad)
        status, stderr, log = run(program, "--data", DATA, "--resume", bad, "--steps", 6, "--checkpoint", bad)
        stderr = stderr.replace(str(work), "WORK")
        assert status == 1 and not bits(log), f"{what}: exit status {status}\n{stderr}"
        assert stderr.startswith(f"stagecc: error: WORK/bad/step-000004/{text}") and stderr.count("\n") == 1, f"{what}: it says\n{stderr}and not\n{text}"
        assert tree(bad) == before, f"{what}: it changed the checkpoints"
    manifest = json.loads((whole / "step-000004/manifest.json").read_text())
    manifest["step"] = 3
    (step / "manifest.json").write_text(json.dumps(manifest))
    status, stderr, _ = run(program, "--data", DATA, "--resume", bad, "--steps", 6)
    assert status == 1 and "step-000004/manifest.json: was altered (CRC32C " in stderr, stderr
    refused("no checkpoint", work, program, f"WORK/none: No such file or directory", "--data", DATA, "--resume", work / "none")
    (work / "empty").mkdir()
    refused("empty folder", work, program, "WORK/empty: no checkpoint here: neither manifest.json nor a complete step-*", "--data", DATA, "--resume", work / "empty")
    other = build(work / "other", 1, "-D", "HIDDEN=32")
    refused("another model", work, other, "WORK/ckpt/step-000004: tensor hidden1.weight is [64,64], the model wants [32,64]", "--data", DATA, "--resume", whole)
    adam = build(work / "adam", 1, "--optimizer", "adam", "--momentum", "0")
    refused("another optimizer", work, adam, "WORK/ckpt/step-000004: has no tensor hidden1.weight.exp_avg: it was made by another optimizer or another model",
            "--data", DATA, "--resume", whole)
    status, stderr, _ = run(program, "--data", DATA, "--resume", whole, "--steps", 3)
    assert status == 0 and "nothing to train: 4 steps are done, and 3 in all were asked for" in stderr, stderr


def full_disk(work, program):
    folder = work / "full"
    trained(program, "--data", DATA, "--steps", 2, "--checkpoint", folder)
    before = tree(folder)
    env = {"LD_PRELOAD": FULL_DISK, "FULL_DISK": "/.step-000004.tmp/stage-1.", "FULL_DISK_BYTES": "5000", "ASAN_OPTIONS": "verify_asan_link_order=0"}
    status, stderr, _ = run(program, "--data", DATA, "--resume", folder, "--steps", 6, "--checkpoint", folder, "--checkpoint-every", 2, env=env)
    stderr = stderr.replace(str(work), "WORK").splitlines()[-1]
    want = ("stagecc: error: WORK/full/.step-000004.tmp/stage-1.safetensors: write: No space left on device; "
            "the checkpoint of step 4 was given up, older ones are as they were")
    assert status == 2 and stderr == want, f"exit status {status}\n{stderr}"
    assert tree(folder) == before and [p.name for p in folder.iterdir()] == ["step-000002"], "the old checkpoint is not as it was"
    trained(program, "--data", DATA, "--resume", folder, "--steps", 6, "--checkpoint", folder)


# Resuming


def resumed(work, program):
    """Half way in 2 stages, the rest in 1 and 3: the bits of a run that never stopped."""
    whole, half = work / "whole", work / "half"
    want = bits(trained(program, "--data", DATA, "--steps", 60, "--checkpoint", whole))
    trained(program, "--data", DATA, "--steps", 30, "--checkpoint", half)
    for stages in (2, 1, 3):
        again = program if stages == 2 else build(work / f"stages{stages}", stages, *PLAN)
        target = work / f"resumed{stages}"
        log = trained(again, "--data", DATA, "--resume", half, "--steps", 60, "--checkpoint", target)
        got = bits(log)
        assert sorted(got) == list(range(31, 61)), f"{stages} stages: steps {sorted(got)}"
        differ = [step for step in got if got[step] != want[step]]
        assert not differ, f"{stages} stages: loss bits differ from step {differ[0]} on"
        have, reference = tensors(target / "step-000060"), tensors(whole / "step-000060")
        assert have == reference, f"{stages} stages: tensors differ: {[n for n in reference if have.get(n) != reference[n]]}"
    test = ("--data", DATA, "--test-data", f"idx:{DIGITS}/test", "--eval-only")
    scores = [trained(program, *test, option, whole / "step-000060")[-1]["test_loss"] for option in ("--resume", "--init")]
    assert scores[0] == scores[1], f"--resume and --init differ: {scores}"


def killed(work, program):
    """Killed with SIGKILL while checkpoints are written: the newest one resumes to the bits of a run that never stopped."""
    want = bits(trained(program, "--data", DATA, "--steps", 400))
    folder, step = work / "killed", 0
    for delay in (0.003, 0.011, 0.029, 0.047):
        before = step
        command = [STAGECC, "run", program, "--data", DATA, "--steps", 1000000, "--checkpoint", folder, "--checkpoint-every", 1]
        command += ["--resume", folder] if step else []
        job = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        while step < before + 5:
            assert job.poll() is None, "the job ended by itself"
            time.sleep(0.002)
            step = max([int(p.name[5:]) for p in folder.glob("step-*")], default=0)
        time.sleep(delay)
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        wait_until_gone(program)
        step = max(int(p.name[5:]) for p in folder.glob("step-*"))
        if step >= 399:
            break
        got = bits(trained(program, "--data", DATA, "--resume", folder, "--steps", step + 1))
        assert got == {step + 1: want[step + 1]}, f"after a kill at step {step}: {got}, not {want[step + 1]}"


def wait_until_gone(program):
    for _ in range(500):
        running = [e for e in map(exe_of, pathlib.Path("/proc").glob("[0-9]*")) if e.startswith(f"{program}/stage")]
        if not running:
            return
        time.sleep(0.01)
    raise AssertionError(f"processes are left: {running}")


def exe_of(process):
    try:
        return os.readlink(process / "exe")
    except OSError:
        return ""


PLAN = ("--clip-norm", "1", "--lr-schedule", "cosine", "--lr-steps", "60", "--warmup", "10")

with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    program = build(work / "stages2", 2, *PLAN)
    for test in (wrong_data, damaged_checkpoints, full_disk, resumed, killed):
        test(work, program)
        print(f"{test.__name__}: as it should be")
