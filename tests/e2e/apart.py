"""Programs whose tensors the host cannot touch (tests/runtime/apart_device.c) train, evaluate, save and go on with the
bits of those that work in the host's memory.

  apart.py STAGECC SOURCE_DIR APART_LIBRARY [TEST WORD...]
TEST: instead, that script of this folder (STAGECC WORD...) with all programs on the device.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402
import fake_ssh  # noqa: E402

STAGECC, SOURCE, LIBRARY = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
DIGITS, TEXT = f"idx:{SOURCE}/examples/digits/train", f"text:{SOURCE}/README.md"
CLIPPED = ["--momentum", "0.9", "--clip-norm", "0.1"]
REF = ["--backend", "ref", "--batch", "40", "--micro-batches", "5"]
GPT = ["-D", "TIED=1", "-D", "LAYERS=2", "-D", "DIM=32", "-D", "T=16", "--batch", "8", "--micro-batches", "4"]
CNN = ["--batch", "16", "--micro-batches", "4", "--isa", "avx2"]
NETWORK = ("norms across stages", "replicas")  # these run on two hosts, too
CASES = [  # what it meets, model, data, options
    ("one stage", "examples/mlp/mlp.c", DIGITS, [*REF, *CLIPPED]),
    ("norms across stages", "examples/mlp/mlp.c", DIGITS, [*REF, *CLIPPED, "--stages", "3", "--schedule", "zb-h1"]),
    ("replicas", "examples/mlp/mlp.c", DIGITS, [*REF, *CLIPPED, "--stage_to_num_ranks", "0:2,1:1,2:3"]),
    ("tied weights, tokens", "examples/gpt/gpt.c", TEXT, [*GPT, "--stages", "3", "--optimizer", "adam"]),
    ("a library's layouts", "tests/torch/cnn.c", "synthetic:100", [*CNN, "--stages", "2", "--schedule", "interleaved", "--virtual-stages", "2"]),
    ("synchronised batch norm", "tests/torch/cnn.c", "synthetic:100",
     [*CNN, "--backend", "ref", "--stage_to_num_ranks", "0:2,1:1", "--batch-norm", "synchronised"]),
    ("older weights", "tests/torch/cnn.c", "synthetic:96", [*CNN, "--stages", "3", "--schedule", "pipedream", "--batch", "8", "--micro-batches", "1"]),
    ("encoded messages", "examples/mlp/mlp.c", DIGITS, [*REF, "--stages", "2", "--transfer", "int8"]),
]
STEPS = 9


def trained(out, model, data, options):
    """Of a run that evaluates on its way, and is stopped and resumed once."""
    bits.run([STAGECC, "build", SOURCE / model, "-o", out, "--no-svg", *options])
    common = [STAGECC, "run", out, "--data", data, "--test-data", "synthetic:24", "--eval-every", "3", "--checkpoint", out / "ckpt"]
    bits.run([*common, "--steps", "4", "--log-json", out / "first.json"])
    bits.run([*common, "--steps", STEPS, "--resume", out / "ckpt", "--log-json", out / "second.json"])
    return bits.told(out / "first.json") + bits.told(out / "second.json"), bits.tensors(out / f"ckpt/step-{STEPS:06}")


def losses_of_two_hosts(out, data):
    """Both of them are this machine. Evaluates on its way, without a stop; none: this build has no UCX."""
    if not pathlib.Path("/usr/include/ucp/api/ucp.h").exists():
        print("without UCX: on one host only")
        return []
    hosts, log = out / "hosts", out / "hosts.json"
    hosts.write_text("localhost slots=2\n127.0.0.1 slots=4\n")
    os.environ.update(STAGECC_SSH=str(fake_ssh.put(out / "shell", fake_ssh.SSH)), UCX_NET_DEVICES="lo")
    bits.run([STAGECC, "deploy", out, "--hostfile", hosts])
    bits.run([STAGECC, "run", out, "--data", data, "--test-data", "synthetic:24", "--eval-every", "3", "--steps", STEPS, "--hostfile", hosts, "--log-json", log])
    return bits.losses(log)


def use_apart(work):
    """Compilers that are called from now on link the device in the host's place."""
    wrapper = work / "cc"
    wrapper.write_text(f'#!/bin/sh\nexec {os.environ.get("CC") or "cc"} -Wl,--whole-archive "{LIBRARY}" -Wl,--no-whole-archive "$@"\n')
    wrapper.chmod(0o755)
    os.environ["CC"] = str(wrapper)


def compare(work):
    want = [trained(work / f"host{i}", *case[1:]) for i, case in enumerate(CASES)]
    use_apart(work)
    for i, (what, *case) in enumerate(CASES):
        told_here, tensors = trained(work / f"apart{i}", *case)
        assert told_here == want[i][0], f"{what}: {told_here}\nnot {want[i][0]}"
        assert sum("loss_bits" in line for line in told_here) == STEPS, told_here
        assert sum("test_loss" in line for line in told_here) >= 3, told_here
        differ = [name for name in want[i][1] if want[i][1][name] != tensors.get(name)]
        assert not differ and want[i][1].keys() == tensors.keys(), f"{what}: tensors differ: {differ[:5]}"
        if what in NETWORK:
            there, here = losses_of_two_hosts(work / f"apart{i}", case[1]), [(t["step"], t["loss_bits"]) for t in told_here if "loss_bits" in t]
            assert not there or there == here, f"{what}, on two hosts: {there}\nnot {here}"
        print(f"{what}: {STEPS} steps, {len(tensors)} tensors", flush=True)


with tempfile.TemporaryDirectory() as folder:
    if sys.argv[4:]:
        use_apart(pathlib.Path(folder))
        script = pathlib.Path(__file__).with_name(sys.argv[4])
        sys.exit(subprocess.run([sys.executable, script, STAGECC, *sys.argv[5:]]).returncode)
    compare(pathlib.Path(folder))
