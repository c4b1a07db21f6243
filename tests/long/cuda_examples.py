"""The models of examples/ as programs for CUDA devices: nvcc compiles their kernels for sm_80 and sm_90, they link, and say so where there is
no driver, with exit status 2.

  cuda_examples.py STAGECC SOURCE_DIR [NAME ...]

None may take a minute. What is limited is the processor's time by two, as nvcc compiles for both architectures at once: on a
machine that nothing else uses that is about the time by the clock, and on a busy one it stays the same.
"""
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

LIMIT_S, SIDE_BY_SIDE = 60, 2
BF16 = ["--dtype", "bf16"]
GPT2 = [w for d in "LAYERS=12 DIM=768 HEADS=12 T=1024 VOCAB=50257 TIED=1".split() for w in ("-D", d)]
MODELS = [  # name, file, options; sizes are the published ones where nothing is said
    ("mlp", "mlp", []),
    ("resnet50", "resnet", []),
    ("resnet50 bf16", "resnet", BF16),
    ("vgg16", "vgg", ["-D", "DEPTH=16"]),
    ("alexnet", "alexnet", []),
    ("squeezenet", "squeezenet", []),
    ("dense", "dense", []),
    ("densenet121", "densenet", ["-D", "DEPTH=121"]),
    ("inception_v3", "inception", []),
    ("mobilenet_v2", "mobilenet", []),
    ("nasnetamobile", "nasnet", []),
    ("vit_b_16", "vit", []),
    ("gpt2", "gpt", GPT2),
    ("gpt2 bf16", "gpt", [*GPT2, *BF16]),
    ("gnmt", "gnmt", []),
    ("bert", "bert", []),
]
BATCH = ["--batch", "4", "--micro-batches", "1", "--no-svg"]


def processor_s():
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def has_card():
    return any(pathlib.Path("/dev").glob("nvidia[0-9]*"))


def start(program):
    """What is wrong with how the program starts, or None."""
    done = subprocess.run([program, "--data", "synthetic:16", "--steps", "1"], capture_output=True, text=True)
    if has_card() or (done.returncode == 2 and "there is no driver" in done.stderr):
        return None
    return f"exit status {done.returncode}: {done.stderr.strip()}"


def test(stagecc, source, out, file, options):
    """(seconds by the clock, by the processor, what is wrong or None)"""
    begin, spent = time.monotonic(), processor_s()
    done = subprocess.run([stagecc, "build", source / f"examples/{file}/{file}.c", "--backend", "cuda", *BATCH, *options, "-o", out],
                          capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != "STAGECC_CUDA"})
    seconds, spent = time.monotonic() - begin, processor_s() - spent
    if done.returncode:
        return seconds, spent, f"exit status {done.returncode}: {done.stderr.strip()}"
    if "warning" in done.stderr:
        return seconds, spent, done.stderr.strip()
    if spent / SIDE_BY_SIDE > LIMIT_S:
        return seconds, spent, f"more than {LIMIT_S} s"
    return seconds, spent, start(out / "stage0")


def main():
    stagecc, source, names = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    good = True
    for name, file, options in MODELS:
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            seconds, spent, wrong = test(stagecc, source, pathlib.Path(folder) / "out", file, options)
        good &= wrong is None
        print(f"{name}: {seconds:.1f} s by the clock, {spent:.1f} s of the processor{': ' + wrong if wrong else ''}", flush=True)
    sys.exit(0 if good else 1)


main()
