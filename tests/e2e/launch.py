"""stagecc launch over loopback.

  launch.py STAGECC SOURCE_DIR [SCENARIO...]
"""
import contextlib
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import fake_ssh
from cluster import free_port, losses, words

MODEL = """#include <stagecc/model.h>

MODEL(chain)
{
    Tensor x = flatten(input("image", F32, 1, 8, 8));
    for (int i = 0; i < 7; i++)
        x = linear(x, 64);
    loss(cross_entropy(linear(x, 10), target("label", I32)));
}
"""
STEPS = 60
FOREVER = 10000000
SCONTROL = """#!/bin/sh
[ "$*" = "show hostnames n[1-2]" ] && printf 'n1\\nn2\\n'
"""
SBATCH = """#!/bin/sh
cp "$1" submitted && echo "Submitted batch job 7"
"""


class Place:
    """A folder with hosts, commands in the place of ssh and of Slurm, and what was launched there."""

    def __init__(self, folder, stagecc, source):
        self.folder, self.stagecc, self.source = folder, stagecc, source
        self.port = free_port()
        (folder / "model.c").write_text(MODEL)
        fake_ssh.put(folder / "shell", fake_ssh.SSH_APART)
        for name, text in (("srun", fake_ssh.SRUN), ("scontrol", SCONTROL), ("sbatch", SBATCH)):
            (folder / "bin").mkdir(exist_ok=True)
            fake_ssh.put(folder / "bin" / name, text)
        self.environment = dict(os.environ, STAGECC_SSH=str(folder / "shell"), UCX_NET_DEVICES="lo")
        for name in ("XDG_CACHE_HOME", "SLURM_JOB_ID", "SLURM_NTASKS_PER_NODE", "SSH_CONNECTION"):
            self.environment.pop(name, None)

    def in_slurm(self):
        self.environment.update(SLURM_JOB_ID="7", SLURM_JOB_NODELIST="n[1-2]", PATH=f"{self.folder}/bin:{os.environ['PATH']}")
        del self.environment["STAGECC_SSH"]

    def command(self, steps, *more, hosts=("localhost slots=2", "me@h1", "h2")):
        if hosts:
            (self.folder / "hosts").write_text("".join(line + "\n" for line in hosts))
        return words(self.stagecc, "launch", "model.c", "--data", f"idx:{self.source}/examples/digits/train", "--steps", steps,
                     "--rehearse", 300, "--log-json", "log.json", *(["--hostfile", "hosts"] if hosts else []), "--listen", f"127.0.0.1:{self.port}", *more)

    def start(self, *all, **more):
        self.log = open(self.folder / "launch.log", "w")
        self.launch = subprocess.Popen(self.command(*all, **more), cwd=self.folder, env=self.environment, stdout=self.log, stderr=self.log)

    def said(self):
        return (self.folder / "launch.log").read_text()

    def status(self):
        done = subprocess.run(words(self.stagecc, "status", "--json", "--master", f"127.0.0.1:{self.port}", "--key", "journal/keys/master.key"),
                              cwd=self.folder, capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else {"step": -1, "phase": "away", "plan": None}

    def wait(self, what, condition, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.launch.poll() is None, f"{what}: it has ended, {self.launch.returncode}\n{self.said()}"
            if condition(self.status()):
                return
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {seconds} s\n{self.said()}")

    def wait_step(self, step):
        self.wait(f"step {step}", lambda s: s["step"] >= step)

    def wait_said(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.said():
            assert time.monotonic() < end, f"{text} was not said within {seconds} s\n{self.said()}"
            time.sleep(0.01)

    def processes(self, word=""):
        """Of this folder: numbers of those whose command line has this word."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                where = os.readlink(process / "cwd")
                line = (process / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if where.startswith(str(self.folder)) and word in line:
                found.append(int(process.name))
        return found

    def ends(self, wanted, seconds=120):
        status = self.launch.wait(seconds)
        assert status == wanted, f"status {status}\n{self.said()}"
        self.nothing_left()

    def nothing_left(self, seconds=15):
        end = time.monotonic() + seconds
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        lines = [pathlib.Path(f"/proc/{p}/cmdline").read_text() for p in self.processes()]
        assert not lines, f"left: {lines}\n{self.said()}"

    def same_bits(self, alone):
        mine = losses(self.folder / "log.json")
        assert len(mine) == STEPS and mine == alone, f"other losses\n{self.said()}"


def undisturbed(place, alone):
    """A key is in its file and the pipe, for its owner alone; others' keys go nowhere."""
    place.start(STEPS)
    place.wait_step(2)
    assert len(place.status()["plan"]["stages"]) == 4, place.status()
    for key in place.folder.glob("journal/keys/*.key"):
        secret = next(line.split()[1] for line in key.read_text().splitlines() if line.startswith("secret"))
        assert not place.processes(secret), f"{key} is on a command line"
    there = sorted(place.folder.glob("shell.home-*/.cache/stagecc/keys/*"))
    assert [(p.name, stat.S_IMODE(p.stat().st_mode)) for p in there] == [("h2.key", 0o600), ("h1.key", 0o600)], there
    place.ends(0)
    place.same_bits(alone)
    for line in ("h2: connected to", "me@h1: the job is done", "localhost: the job is done"):
        assert line in place.said(), place.said()
    place.start(STEPS, "--journal", "second", "--profile", "journal/profile", "--key", "journal/keys/master.key")
    place.ends(0)
    assert "stagecc: h2: has this worker already" in place.said(), place.said()


def master_killed(place, alone):
    place.start(STEPS)
    place.wait_step(5)
    master = [p for p in place.processes(" launch ") if p != place.launch.pid and pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")")[1].split()[1] == str(place.launch.pid)]
    assert len(master) == 1, master
    os.kill(master[0], signal.SIGKILL)
    place.ends(0)
    assert "the master was killed; another one goes on" in place.said(), place.said()
    place.same_bits(alone)


def worker_killed(place, alone):
    place.start(STEPS, hosts=["localhost", "h1", "h2"])
    place.wait_step(5)
    os.kill(place.processes("worker --key " + str(place.folder) + "/shell.home-h1")[-1], signal.SIGKILL)
    place.ends(0)
    assert "h1: the worker has ended, status " in place.said(), place.said()
    place.same_bits(alone)


def launch_killed(place, _):
    place.start(FOREVER)
    place.wait_step(3)
    place.launch.kill()
    place.launch.wait()
    place.nothing_left()


def interrupted(place, _):
    """The first signal saves and ends training; with the second nothing is waited for."""
    for number, twice in ((signal.SIGTERM, False), (signal.SIGINT, True)):
        place.start(FOREVER, "--journal", f"journal{number}", "--key", "journal/keys/master.key", "--checkpoint", f"saved{number}",
                    *(["--profile", "journal15/profile"] if twice else []))
        place.wait_step(3)
        place.launch.send_signal(number)
        if twice:
            place.wait_said("stopped by a signal")
            place.launch.send_signal(number)
        place.ends(130)
        assert twice or len(list(place.folder.glob(f"saved{number}/step-*/manifest.json"))) == 1, place.said()


def slurm(place, alone):
    """Within an allocation its nodes are the hosts; a batch script does the same."""
    place.in_slurm()
    place.environment["SLURM_NTASKS_PER_NODE"] = "2"
    place.start(STEPS, hosts=None)
    place.wait_step(2)
    assert [w["slots"] for w in place.status()["workers"]] == [2, 2]
    place.ends(0)
    place.same_bits(alone)
    assert len(list(place.folder.glob("bin/srun.home-n[12]/.cache/stagecc/*/stagecc"))) == 2
    place.start(STEPS, "--slurm", "--nodes", "2", "--journal", "batch", "--", "--time=1:00:00", hosts=None)
    place.ends(0)
    assert "Submitted batch job 7" in place.said(), place.said()
    script = (place.folder / "submitted").read_text()
    assert "#SBATCH --time=1:00:00\n" in script and "--slurm" not in script.split("exec")[1], script
    done = subprocess.run(["sh", "submitted"], cwd=place.folder, env=place.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    place.same_bits(alone)


def wrong(place, _):
    for expected, text, hosts, more in (
            (4, "cannot reach gone by ssh", ["localhost", "gone"], []),
            (1, "lost.key: error: is missing, and more/workers.allow lists lost", ["lost"], ["--key", "more/master.key"]),
            (4, "all workers have failed", ["h1"], ["--journal", "other"])):
        if "more/master.key" in more:
            subprocess.run(words(place.stagecc, "keygen", "-o", "more", "lost"), cwd=place.folder, check=True, capture_output=True)
            (place.folder / "more" / "lost.key").unlink()
        if "other" in more:  # a worker's place for programs is none
            blocked = place.folder / "shell.home-h1" / ".cache" / "stagecc" / "h1"
            blocked.parent.mkdir(parents=True)
            blocked.write_text("")
        place.start(STEPS, *more, hosts=hosts)
        place.ends(expected)
        assert text in place.said(), place.said()


SCENARIOS = {f.__name__: f for f in (undisturbed, master_killed, worker_killed, launch_killed, interrupted, slurm, wrong)}


def main():
    stagecc, source, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model.c").write_text(MODEL)
        subprocess.run(words(stagecc, "build", "model.c", "--stages", 1, "--no-svg", "-o", "alone"), cwd=folder, check=True, capture_output=True)
        subprocess.run(words(stagecc, "run", "alone", "--data", f"idx:{source}/examples/digits/train", "--steps", STEPS, "--log-json", "alone.json"), cwd=folder, check=True, capture_output=True)
        alone = losses(folder / "alone.json")
        for name in names or SCENARIOS:
            (folder / name).mkdir()
            place = Place(folder / name, stagecc, source)
            begin = time.monotonic()
            try:
                SCENARIOS[name](place, alone)
            finally:
                for p in place.processes():
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(p, signal.SIGKILL)
            print(f"{name}: {time.monotonic() - begin:.1f} s", flush=True)


if not pathlib.Path("/usr/include/ucp/api/ucp.h").exists() or not pathlib.Path("/usr/include/zmq.h").exists():
    print("this build has no UCX or no ZeroMQ: apt-get install libucx-dev libzmq3-dev")
    sys.exit(77)
main()
