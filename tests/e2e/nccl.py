"""Messages from device to device, between ranks that have devices of their own, by a NCCL that is not there (tests/cuda/nccl.cpp):
the bits of the emulated runtime, and an end in time where a rank dies for which another one's device waits. On one host, on two, and
under a master.

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
import fake_ssh  # noqa: E402
from cluster import Cluster  # noqa: E402
from card_link import Linker  # noqa: E402

STAGECC, SOURCE, TESTS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
DIGITS = f"idx:{SOURCE}/examples/digits/train"
STEPS, SOON = 9, 5
FREE = ["--backend", "cuda", "--batch", "40", "--micro-batches", "5", "--momentum", "0.9"]  # hosts wait for no norm
OPTIONS = [*FREE, "--clip-norm", "0.1"]
# Of three ranks on two devices those of the second stage and of the first replica share one.
WAYS = [({"FAKE_CUDA_DEVICES": "3", "STAGECC_NCCL": "1"}, "all"), ({"FAKE_CUDA_DEVICES": "2", "STAGECC_NCCL": "1"}, "some"),
        ({"FAKE_CUDA_DEVICES": "1", "STAGECC_NCCL": "1"}, "none"), ({"FAKE_CUDA_DEVICES": "3"}, "none")]


def count(sent):
    """Of messages, by who has sent them."""
    return sum(map(int, sent.read_text().split())) if sent.exists() else 0


def trained(out, name, *options, **env):
    """Evaluates on its way. What it says, its tensors, and messages that went from device to device."""
    ckpt, log, sent = (out / f"{name}{end}" for end in ("", ".json", ".sent"))
    os.environ.update(env, FAKE_NCCL_SENT=str(sent))
    bits.run([STAGECC, "run", out, "--data", DIGITS, "--test-data", f"idx:{SOURCE}/examples/digits/test", "--eval-every", "3", "--checkpoint", ckpt,
              "--steps", STEPS, "--log-json", log, *options])
    for key in env:
        del os.environ[key]
    return bits.told(log), bits.tensors(ckpt / f"step-{STEPS:06}"), count(sent)


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
    """The launcher is stopped, so the others have to find out by themselves; so is the victim until they have asked for all messages of
    a step, so that some wait for it on the device."""
    launcher = subprocess.Popen([STAGECC, "run", out, "--data", DIGITS, "--steps", "1000000"], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, env={**os.environ, "FAKE_CUDA_DEVICES": "3", "STAGECC_NCCL": "1"})
    end = time.monotonic() + 60
    while len(programs(launcher.pid)) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1.5)  # in the midst of training
    launcher.send_signal(signal.SIGSTOP)
    ranks = programs(launcher.pid)
    victim = next(pid for name, pid in ranks if name == "stage1")
    os.kill(victim, signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(victim, signal.SIGKILL)
    begin, left = time.monotonic(), [pid for _, pid in ranks if pid != victim]
    while time.monotonic() - begin < SOON and None in map(exit_status, left):
        time.sleep(0.02)
    seconds, ended = time.monotonic() - begin, list(map(exit_status, left))
    launcher.send_signal(signal.SIGCONT)
    _, said = launcher.communicate(timeout=60)
    assert ended == [4, 4], f"a killed rank: the others' exit statuses are {ended} after {seconds:.1f} s\n{said}"
    errors = [line for line in said.splitlines() if "stagecc: error: " in line]
    assert launcher.returncode == 4 and len(errors) == 1 and "stage 1" in errors[0], f"exit status {launcher.returncode}\n{said}"
    print(f"a killed rank: the others end after {seconds:.2f} s: {errors[0].strip()}", flush=True)


def check_shared(out):
    """The device gets to know the slots of edges that need them, and of no others."""
    for env, needs in (WAYS[0][0], False), (WAYS[3][0], True):
        done = subprocess.run([STAGECC, "run", out, "--data", DIGITS, "--steps", "2"], capture_output=True, text=True,
                              env={**os.environ, **env, "FAKE_CUDA_UNREGISTERED": "1"})
        assert done.returncode == 0 and ("cannot be shared with the device" in done.stderr) == needs, f"{env}: {done.stderr}"


def check_old(out):
    """Communicators of it cannot be aborted together."""
    for version, status in ("22105", 2), ("22200", 0):
        done = subprocess.run([STAGECC, "run", out, "--data", DIGITS, "--steps", "2"], capture_output=True, text=True,
                              env={**os.environ, **WAYS[0][0], "FAKE_NCCL_VERSION": version})
        assert done.returncode == status and ("is NCCL 2.21.5: this program wants NCCL 2.22 or newer" in done.stderr) == bool(status), f"{version}: {done.returncode}\n{done.stderr}"


# Several hosts


def use_hosts(out):
    """The hostfile of two, which are this machine: both replicas of the first stage on one, the second stage on the other, each on
    a device of its own. Hosts hear of STAGECC_NCCL by the launcher alone."""
    hosts = out / "hosts"
    hosts.write_text("localhost slots=2 device=cuda\nh1 device=cuda\n")
    shell = fake_ssh.SSH.replace("export HOME", "unset STAGECC_NCCL\nexport HOME")
    os.environ.update(STAGECC_SSH=str(fake_ssh.put(out / "shell", shell)), UCX_NET_DEVICES="lo")
    bits.run([STAGECC, "deploy", out, "--hostfile", hosts])
    return hosts


def running(work):
    """{name: process} of ranks whose programs lie there."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            program = os.readlink(folder / "exe")
            if program.startswith(str(work)) and "/stage" in program and (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                found[f"{pathlib.Path(program).name} {folder.name}"] = int(folder.name)
        except OSError:
            pass
    return found


def check_killed_there(work, out, hosts):
    log = out / "killed.json"
    launcher = subprocess.Popen([STAGECC, "run", out, "--data", DIGITS, "--steps", "1000000", "--hostfile", hosts, "--log-json", log],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "FAKE_CUDA_DEVICES": "2", "STAGECC_NCCL": "1"})
    end = time.monotonic() + 60
    while (not log.exists() or log.read_text().count("loss_bits") < 3) and launcher.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(next(pid for name, pid in running(work).items() if name.startswith("stage1 ")), signal.SIGKILL)
    begin = time.monotonic()
    while running(work) and time.monotonic() < begin + SOON:
        time.sleep(0.02)
    seconds, left = time.monotonic() - begin, running(work)
    _, said = launcher.communicate(timeout=60)
    errors = [line for line in said.splitlines() if "stagecc: error: " in line]
    assert not left and launcher.returncode == 4 and len(errors) == 1 and "stage 1" in errors[0], f"{left}, exit status {launcher.returncode}\n{said}"
    print(f"a killed rank of another host: all end after {seconds:.2f} s: {errors[0].strip()}", flush=True)


class Homes(Cluster):
    """Workers on hosts of their own, as devices see it."""

    def start_worker(self, i):
        home = self.folder / f"home{i}"
        home.mkdir()
        self.workers[i] = self.start(f"worker{i}", "worker", "--master", f"{self.address}:{self.port}", "--key", f"keys/worker{i}.key", "--dir", f"cache{i}",
                                     "--device", "cuda", HOME=str(home))


def check_workers(work):
    c, sent = Homes(STAGECC, work / "cluster", model=SOURCE / "examples/mlp/mlp.c", steps=100000, data=DIGITS, workers=(2, 2), options=OPTIONS, keys=2), work / "cluster.sent"
    os.environ.update(STAGECC_NCCL="1", FAKE_NCCL_SENT=str(sent))
    try:
        c.start_master()
        c.start_worker(1)
        c.start_worker(2)
        c.wait_step(4)
        c.finish()
        assert count(sent), f"no messages from device to device\n{c.all_logs()}"
        c.check()
        print(f"two workers: {c.steps} steps, {count(sent)} messages from device to device", flush=True)
    finally:
        c.stop()


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    os.environ.update(STAGECC_CUDA="emulated", STAGECC_CUDA_LIBS=str(TESTS / "host_libraries"), TMPDIR=folder, XDG_CACHE_HOME=folder, STAGECC_TIMEOUT="30")
    linker, out = Linker(work, TESTS), work / "out"

    def build(out, *options):
        bits.run([STAGECC, "build", SOURCE / "examples/mlp/mlp.c", "-o", out, "--no-svg", *options, "--stage_to_num_ranks", "0:2,1:1"])

    build(out, *OPTIONS)
    told, tensors, _ = trained(out, "emulated")
    assert sum("loss_bits" in line for line in told) == STEPS, told
    linker.use_card()
    counts = {}

    def check(name, env, how, *options):
        told_here, tensors_here, sent = trained(out, name, *options, **env)
        assert told_here == told, f"{env}: {told_here}\nnot {told}"
        assert tensors_here == tensors, f"{env}: tensors differ"
        assert sent == counts.setdefault(how, sent) and bool(sent) == (how != "none"), f"{env}: {sent} messages from device to device"
        print(f"{name}, {env}: {STEPS} steps, {sent} messages from device to device", flush=True)

    for i, (env, how) in enumerate(WAYS):
        check(f"card{i}", env, how)
    assert counts["all"] > counts["some"], counts
    assert not list(work.glob("nccl-of-tests-*")), "communicators that one side alone has joined"
    check_shared(out)
    check_old(out)
    build(work / "free", *FREE)
    check_killed(work / "free")
    if not pathlib.Path("/usr/include/ucp/api/ucp.h").exists():
        print("this build has no UCX: on one host only")
        sys.exit()
    hosts = use_hosts(out)
    check("two hosts", {"FAKE_CUDA_DEVICES": "2", "STAGECC_NCCL": "1"}, "all", "--hostfile", hosts)
    check("two hosts without", {"FAKE_CUDA_DEVICES": "2"}, "none", "--hostfile", hosts)
    check_killed_there(work, out, hosts)
    check_workers(work)
