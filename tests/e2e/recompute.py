"""Programs that compute forward again in backward take as much less memory as the plan says, stay within the
limit that was given, and compute the same bits. What is left out is enough for any limit that can be kept.

  recompute.py STAGECC SOURCE_DIR
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402

STEPS = 2
MODELS = {
    "resnet": ["resnet/resnet.c", "-D", "DEPTH=18", "-D", "IMAGE=32", "-D", "CHANNELS=1", "-D", "CLASSES=10", "--momentum", "0.9"],
    "gpt": ["gpt/gpt.c", "-D", "LAYERS=3", "-D", "DIM=64", "-D", "T=128", "--clip-norm", "1"],
}


def peak(program, data, out):
    """Most resident bytes of a program that trains, its loss bits and tensors."""
    log = out / "log.json"
    command = [program, "--data", data, "--steps", str(STEPS), "--checkpoint", out / "ckpt"]
    with open(log, "w") as report:
        os.set_inheritable(report.fileno(), True)
        env = dict(os.environ, STAGECC_REPORT_FD=str(report.fileno()))
        child = subprocess.Popen(command, env=env, pass_fds=[report.fileno()], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        most = 0
        while child.poll() is None:  # what wait4 says begins with this process's own size
            found = re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{child.pid}/status").read())
            most = max(most, int(found[1]) * 1024) if found else most
            time.sleep(0.01)
    assert child.returncode == 0, f"{program} ended with {child.returncode}"
    return most, bits.losses(log), bits.tensors(out / "ckpt" / f"step-{STEPS:06}")


def built(stagecc, source, name, how, work):
    model, *options = MODELS[name]
    out = work / name / "-".join(how)
    bits.run([stagecc, "build", source / "examples" / model, *options, "--batch", "16", "--micro-batches", "4", "--schedule", "gpipe",
              "--stages", "1", "--no-svg", "-o", out, *how])
    return out, json.loads((out / "plan.json").read_text())["stages"][0]


# Near these a stage would fit as it is, if its neighbours did, or if nothing were encoded.
LIMITS = [("zb-h1", "exact", 10400), ("zb-h1", "exact", 11800), ("zb-h1", "int8", 11100), ("zb-h1", "int8", 12500), ("1f1b", "int8", 9000)]


def keeps_limits(stagecc, source, work):
    model, *options = MODELS["gpt"]
    for schedule, transfer, kib in LIMITS:
        bits.run([stagecc, "plan", source / "examples" / model, *options[:4], "-n", "3", "--straight_pipeline", "--schedule", schedule,
                  "--transfer", transfer, "--recompute", "auto", "--memory", f"{kib}K", "--isa", "avx512", "--no-svg", "-o", work / "plan"])
        most = max(s["memory_bytes"] for s in json.loads((work / "plan/plan.json").read_text())["stages"])
        assert most <= kib * 1024, f"{schedule}, {transfer}: {most >> 10} KiB, {kib} are allowed"


# Limits that never or always keeps, in another cut than the one that little recomputation was looked for in.
DENSE = ["dense/dense.c", "-D", "IMAGE=16", "-D", "CHANNELS=1", "-D", "CLASSES=10", "--batch", "16", "--micro-batches", "4"]
MLP = ["mlp/mlp.c", "--batch", "64", "--micro-batches", "8", "--schedule", "interleaved", "--virtual-stages", "2"]
CHOICES = [(DENSE, 5980000), (DENSE, 10696000), (MLP, 194496)]


def auto_is_no_worse(stagecc, source, work):
    for (model, *options), limit in CHOICES:
        step_s = {}
        for how in ("never", "always", "auto"):
            done = subprocess.run([stagecc, "plan", source / "examples" / model, *options, "-n", "2", "--straight_pipeline", "--isa", "avx512", "--no-svg",
                                   "--recompute", how, "--memory", str(limit), "-o", work / "plan"], capture_output=True, text=True)
            assert done.returncode in (0, 3), done.stderr
            if not done.returncode:
                step_s[how] = json.loads((work / "plan/plan.json").read_text())["step_s"]
        assert len(step_s) > 1 and step_s["auto"] == min(step_s.values()), f"{model}, {limit}: {step_s}"


def main():
    stagecc, source = sys.argv[1], pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        keeps_limits(stagecc, source, pathlib.Path(folder))
        auto_is_no_worse(stagecc, source, pathlib.Path(folder))
    for name in MODELS:
        data = f"idx:{source}/examples/digits/train" if name == "resnet" else f"text:{source}/README.md"
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            out, plain = built(stagecc, source, name, ["--recompute", "never"], work)
            plain_peak, *want = peak(out / "stage0", data, out)
            limit = plain["memory_bytes"] - plain["slot_bytes"]
            for how in (["--recompute", "always"], ["--recompute", "auto", "-s", str(limit)]):
                out, stage = built(stagecc, source, name, how, work)
                less = plain["memory_bytes"] - stage["memory_bytes"]
                has_peak, *have = peak(out / "stage0", data, out)
                print(f"{name} {how[1]}: {less >> 20} MiB less planned, {stage['again_bytes'] >> 20} reported, {(plain_peak - has_peak) >> 20} measured, "
                      f"of {plain['memory_bytes'] >> 20}; {len(stage['again'])} nodes")
                assert have == want, f"{name} {how}: other bits"
                assert abs(less - stage["again_bytes"]) <= 0.02 * less, "the report says something else than the plan"
                assert abs(plain_peak - has_peak - less) <= 0.1 * less + (2 << 20), "the process says something else than the plan"
                assert how[1] == "always" or stage["memory_bytes"] <= limit, "the limit is not kept"


main()
