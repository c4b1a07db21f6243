"""Messages from device to device, between ranks that have devices of their own, by a NCCL that is not there (tests/cuda/nccl.cpp):
the bits of the emulated runtime.

  nccl.py STAGECC SOURCE_DIR TESTS_FOLDER
"""
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402
from card_link import Linker  # noqa: E402

STAGECC, SOURCE, TESTS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
DIGITS = f"idx:{SOURCE}/examples/digits/train"
STEPS = 9
# Of three ranks on two devices those of the second stage and of the first replica share one.
WAYS = [({"FAKE_CUDA_DEVICES": "3", "STAGECC_NCCL": "1"}, "all"), ({"FAKE_CUDA_DEVICES": "2", "STAGECC_NCCL": "1"}, "some"),
        ({"FAKE_CUDA_DEVICES": "1", "STAGECC_NCCL": "1"}, "none"), ({"FAKE_CUDA_DEVICES": "3"}, "none")]


def trained(out, name, **env):
    """Evaluates on its way. What it says, its tensors, and messages that went from device to device."""
    ckpt, log, sent = (out / f"{name}{end}" for end in ("", ".json", ".sent"))
    os.environ.update(env, FAKE_NCCL_SENT=str(sent))
    bits.run([STAGECC, "run", out, "--data", DIGITS, "--test-data", "synthetic:24", "--eval-every", "3", "--checkpoint", ckpt,
              "--steps", STEPS, "--log-json", log])
    for key in env:
        del os.environ[key]
    return bits.told(log), bits.tensors(ckpt / f"step-{STEPS:06}"), sum(map(int, sent.read_text().split())) if sent.exists() else 0


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    os.environ.update(STAGECC_CUDA="emulated", STAGECC_CUDA_LIBS=str(TESTS / "host_libraries"), TMPDIR=folder)
    linker, out = Linker(work, TESTS), work / "out"
    bits.run([STAGECC, "build", SOURCE / "examples/mlp/mlp.c", "-o", out, "--no-svg", "--backend", "cuda", "--batch", "40",
              "--micro-batches", "5", "--momentum", "0.9", "--clip-norm", "0.1", "--stage_to_num_ranks", "0:2,1:1"])
    told, tensors, _ = trained(out, "emulated")
    assert sum("loss_bits" in line for line in told) == STEPS, told
    linker.use_card()
    counts = {}
    for i, (env, how) in enumerate(WAYS):
        told_here, tensors_here, sent = trained(out, f"card{i}", **env)
        assert told_here == told, f"{env}: {told_here}\nnot {told}"
        assert tensors_here == tensors, f"{env}: tensors differ"
        assert bool(sent) == (how != "none"), f"{env}: {sent} messages from device to device"
        counts.setdefault(how, sent)
        print(f"{env}: {STEPS} steps, {sent} messages from device to device", flush=True)
    assert counts["all"] > counts["some"], counts
    assert not list(work.glob("nccl-of-tests-*")), "communicators that one side alone has joined"
