"""Messages from device to device, between ranks that have devices of their own, by a NCCL that is not there (tests/cuda/nccl.cpp):
the bits of the emulated runtime, and an end in time where a rank dies for which another one's device waits.

  nccl.py STAGECC SOURCE_DIR TESTS_FOLDER
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402
from card_link import Linker  # noqa: E402

STAGECC, SOURCE, TESTS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
DIGITS = f"idx:{SOURCE}/examples/digits/train"
STEPS, SOON = 9, 5
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


def programs(launcher):
    """{rank's program: process} of those that it has started."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(launcher)], capture_output=True, text=True).stdout
    found = [re.match(r" *(\d+) .*/(stage\d+)", line) for line in listed.splitlines()]
    return [(f[2], int(f[1])) for f in found if f]


def exit_status(pid):
    """Of a process that nobody has waited for; less than 0: a signal ended it; None: it still runs."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[-1]) >> 8 or -int(fields[-1])) if fields[0] == "Z" else None


def check_killed(out):
    """The launcher is stopped, so the others have to find out by themselves."""
    launcher = subprocess.Popen([STAGECC, "run", out, "--data", DIGITS, "--steps", "1000000"], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, env={**os.environ, "FAKE_CUDA_DEVICES": "3", "STAGECC_NCCL": "1"})
    end = time.monotonic() + 60
    while len(programs(launcher.pid)) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1.5)  # in the midst of training
    launcher.send_signal(signal.SIGSTOP)
    ranks = programs(launcher.pid)
    victim = next(pid for name, pid in ranks if name == "stage1")
    os.kill(victim, signal.SIGKILL)
    begin, left = time.monotonic(), [pid for _, pid in ranks if pid != victim]
    while time.monotonic() - begin < SOON and None in map(exit_status, left):
        time.sleep(0.02)
    seconds, ended = time.monotonic() - begin, list(map(exit_status, left))
    launcher.send_signal(signal.SIGCONT)
    _, said = launcher.communicate(timeout=60)
    assert ended == [4, 4], f"a killed rank: the others' exit statuses are {ended} after {seconds:.1f} s\n{said}"
    errors = [line for line in said.splitlines() if "error" in line]
    assert launcher.returncode == 4 and len(errors) == 1 and "stage 1" in errors[0], f"exit status {launcher.returncode}\n{said}"
    print(f"a killed rank: the others end after {seconds:.2f} s: {errors[0].strip()}", flush=True)


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    os.environ.update(STAGECC_CUDA="emulated", STAGECC_CUDA_LIBS=str(TESTS / "host_libraries"), TMPDIR=folder, XDG_CACHE_HOME=folder)
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
    check_killed(out)
