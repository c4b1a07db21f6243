"""tools/gpu-check itself: with programs for a simulated device every check passes; what is wrong is shown as such and stops nothing
behind it; what was carried and does not start is compiled where it is; without anything each step says why it does not run.

  gpu_check.py STAGECC SOURCE_DIR
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

STAGECC, SOURCE = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
TOOL = SOURCE / "tools/gpu-check"
STEPS = list(range(1, 14))
sys.path.insert(0, str(SOURCE / "tools/gpu"))
import steps  # noqa: E402
# What a simulated device, or this machine, may lack.
LACKS = {"nvidia-smi", "another architecture", "an engine that is not there", "PyTorch", "compute-sanitizer"}


def call(work, *arguments, status=0, **env):
    """The checks of a run, by name."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, env={**os.environ, "OUT": str(out), "XDG_CACHE_HOME": str(out), **env})
    assert done.returncode == status, f"{arguments}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    told = json.loads(next(out.glob("gpu-*.json")).read_text())
    assert told["summary"] in done.stdout, done.stdout
    assert next(out.glob("gpu-*.txt")).read_text() in done.stdout
    return told["checks"]


def with_status(checks, status):
    return {c["name"]: c["text"] for c in checks if c["status"] == status}


def prepare(work):
    """The folder of what would be carried."""
    done = subprocess.run([sys.executable, TOOL, "--prepare", "--simulate", "--folder", work / "gpu", "--built", STAGECC.parent],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (work / "gpu.tar").stat().st_size < 40 << 20


def check_all(work):
    checks = call(work, "--folder", work / "gpu", FAKE_CUDA_DEVICES="2", TMPDIR=str(work))
    not_run = with_status(checks, "not run")
    assert set(not_run) <= LACKS, {name: not_run[name] for name in set(not_run) - LACKS}
    assert sorted({c["step"] for c in checks}) == STEPS
    for name in ("softmax", "ops-bf16", "ops-tf32", "cnn, steps", "digits, again", "pipeline-gpt, 4 stages", "a stage is killed", "going on from images",
                 "mixed-mlp", "mixed-pictures", "send and receive", "sum of 3 replicas", "two cards", "a peer that dies", "too little memory", "copy to the device"):
        assert name in with_status(checks, "passed"), name
    print(f"a simulated device: {len(checks)} checks", flush=True)


def check_without_card(work):
    checks = call(work, "--folder", work / "gpu", FAKE_CUDA_DEVICES="0", FAKE_CUDA_DRIVER="0")
    not_run = with_status(checks, "not run")
    for name in ("card", "kernels", "ops", "training", "pipelines", "NCCL", "bad input", "ceilings", "models", "PyTorch", "compute-sanitizer"):
        assert not_run.get(name) == "no driver", f"{name}: {not_run.get(name)}"
    print(f"no driver: {len(not_run)} checks do not run", flush=True)


def check_without_graphs(work):
    """A library that cannot be captured: programs go on, and it is told as a failure."""
    checks = call(work, "--folder", work / "gpu", "--only", "training", status=1, FAKE_CUDNN_UNCAPTURED="1")
    failed = with_status(checks, "FAILED")
    assert set(failed) == {"cnn-cuda, CUDA graphs"} and "cuDNN's" in failed["cnn-cuda, CUDA graphs"], failed
    assert {"mlp, replayed", "cnn, replayed", "gpt, replayed"} <= set(with_status(checks, "passed")), checks
    print("no CUDA graphs: " + failed["cnn-cuda, CUDA graphs"], flush=True)


def break_program(carried, name, text):
    program = carried / "programs" / name / "stage0"
    program.unlink()
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def check_failing(work):
    """Wrong bits, a program that gives up, one that hangs, one whose loss is off."""
    carried = work / "broken"
    shutil.copytree(work / "gpu/carried", carried)
    bits = carried / "expected/softmax.bits"
    lines = bits.read_text().splitlines()
    bits.write_text("\n".join([lines[0].replace(lines[0][5:9], "beef"), *lines[1:]]) + "\n")
    shutil.rmtree(carried / "programs/ops-bf16")
    break_program(carried, "mlp-cuda", '[ "$1" = --version ] && exit 0; echo "stage0: error: gives up" >&2; exit 1')
    shutil.rmtree(carried / "programs/pipeline-gpt-2")
    shutil.copytree(carried / "programs/gpt2", carried / "programs/pipeline-gpt-2")
    break_program(carried, "pipeline-cnn-1", '[ "$1" = --version ] && exit 0; sleep 1000')
    break_program(carried, "bad", '[ "$1" = --version ] && exit 0; exit 3')
    shutil.rmtree(carried / "programs/mixed-mlp")
    shutil.copytree(carried / "programs/mixed-mlp-ref", carried / "programs/mixed-mlp")
    (carried / "messages").write_text("#!/bin/sh\n[ $1 = nothing ] || { echo 'a message: byte 7 is ff' >&2; exit 1; }\n")
    checks = call(work, "--carried", carried, "--quick", status=1, GPU_CHECK_LIMIT_S="60")
    failed = with_status(checks, "FAILED")
    for name, text in {"softmax": "beef", "ops-bf16": "was not carried", "mlp, steps": "gives up", "pipeline-gpt, 2 stages": "another loss in step 1",
                       "a stage is killed": "no stage 1", "going on from images": "no stage 1", "pipeline-cnn": "no end within",
                       "mixed-mlp": "stages of ref, ref", "messages": "byte 7 is ff",
                       "no driver": "exit status 3"}.items():
        assert text in failed.get(name, ""), f"{name}: {failed.get(name)}"
    passed = with_status(checks, "passed")
    for name in ("sums", "ops-f32", "cnn, steps", "digits", "pipeline-gpt, 4 stages", "mixed-pictures"):
        assert name in passed, f"{name}: {failed.get(name)}"
    assert sorted({c["step"] for c in checks}) == STEPS[:8]
    print(f"what is wrong: {', '.join(failed)}", flush=True)


def check_older_library(work):
    """Programs that this machine's loader does not take are made of their sources."""
    carried = work / "older"
    shutil.copytree(work / "gpu/carried", carried)
    text = "echo \"./stage0: version 'GLIBC_2.99' not found\" >&2; exit 1"
    break_program(carried, "mlp-cuda", text)
    break_program(carried, "mlp-ref", text)
    for name in ("stagecc", "stagecc-card", "messages", "device_tests"):
        (carried / name).write_text(f"#!/bin/sh\n{text}\n")
    checks = call(work, "--carried", carried, "--only", "training")
    passed = with_status(checks, "passed")
    assert "2 of them compiled here" in passed["programs"], passed
    assert all("compiled here" in passed[name] for name in ("stagecc-card", "messages", "device_tests")), passed
    assert {"mlp, steps", "card, asked again"} <= set(passed) and "card" not in passed, passed
    print("an older C library: programs are compiled again", flush=True)


def check_steps(work):
    """A step that cannot go on, and a mistake of the tool itself, cost that step alone."""
    carried = work / "steps"
    shutil.copytree(work / "gpu/carried", carried)
    shutil.rmtree(carried / "expected")
    manifest = json.loads((carried / "manifest.json").read_text())
    del manifest["commit"]
    (carried / "manifest.json").write_text(json.dumps(manifest))
    checks = call(work, "--carried", carried, "--only", "kernels,7", status=1)
    failed = with_status(checks, "FAILED")
    assert "KeyError" in failed["start"] and "no bits of the processor" in failed["kernels"], failed
    assert [c["step"] for c in checks][-1] == 7
    print("steps that cannot go on: the next begin", flush=True)


def check_nothing(work):
    checks = call(work, "--folder", work / "nowhere", PATH="/nonexistent")
    not_run = with_status(checks, "not run")
    assert all("was not carried, and stagecc cannot be built here" in not_run[n] for n in ("start", "ops", "models")), not_run
    assert sorted({c["step"] for c in checks}) == STEPS
    print("nothing: no step runs", flush=True)


def check_limits():
    """If all that come before take what they may, each step has its own share of the whole."""
    for chosen in (steps.STEPS, steps.STEPS[: steps.QUICK]):
        left = steps.TOTAL_S
        for i, step in enumerate(chosen):
            limit = steps.limit_of(step, left, chosen[i + 1 :])
            assert step.least_s <= limit <= step.limit_s, (step.name, limit)
            left -= limit
    last = steps.STEPS[-1]
    assert steps.limit_of(last, steps.TOTAL_S, []) == last.limit_s and steps.limit_of(last, 3, []) == 3


check_limits()
with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    check_nothing(work)
    prepare(work)
    check_all(work)
    check_without_graphs(work)
    check_without_card(work)
    check_failing(work)
    check_older_library(work)
    check_steps(work)
