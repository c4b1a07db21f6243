"""A master and workers on this machine, for tests: started, killed, asked, and what came of it."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

MODEL = """#include <stagecc/model.h>

MODEL(small)
{
    Tensor x = input("image", F32, 1, 16, 16);
    for (int i = 0; i < 4; i++)
        x = relu(batch_norm(conv2d(x, 8, .kernel = 3, .padding = 1, .bias = false)));
    x = relu(linear(dropout(flatten(x), 0.2), 64));
    x = relu(linear(x, 64));
    loss(cross_entropy(linear(x, 10), target("label", I32)));
}
"""
OPTIONS = ["--batch", 24, "--micro-batches", 4, "--optimizer", "adam", "--clip-norm", 1, "--isa", "avx2"]


def words(*all):
    return [str(w) for w in all]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tensors(folder):
    """All of a checkpoint by name, whatever stages they were saved by."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        data = file.read_bytes()
        (n,) = struct.unpack_from("<Q", data)
        for name, t in json.loads(data[8:8 + n]).items():
            if name != "__metadata__":
                begin, end = t["data_offsets"]
                found[name] = (t["dtype"], tuple(t["shape"]), data[8 + n + begin:8 + n + end])
    return found


def losses(log):
    """By step; each is there once."""
    found = {}
    for line in log.read_text().splitlines():
        o = json.loads(line)
        if "loss_bits" in o and "step" in o and "done" not in o:
            assert o["step"] not in found, f"step {o['step']} was told twice"
            found[o["step"]] = o["loss_bits"]
    return found


def is_program(pid):
    """One that trains, or will: it is not asked what its tensors are."""
    try:
        path, *options = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:  # it has ended
        return False
    return re.fullmatch(r".*/stage\d+", path) and options[0] != "--tensors"


class Cluster:
    address = "127.0.0.1"  # of the master
    ask_every_s = 0.02  # while something is waited for

    def on_host(self, name, command):
        """The command as it is started where "master", "worker2" … are."""
        return command

    def __init__(self, stagecc, folder, model=None, steps=40, data="synthetic:100", rehearse=0, workers=(1, 3), options=OPTIONS, keys=4, more=(), like=None):
        """like: another cluster, of the same model and options: its plans, times and reference serve again."""
        self.stagecc, self.folder = stagecc, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model = model or self.folder / "model.c"
        if not model:
            self.model.write_text(MODEL)
        self.steps, self.port = steps, free_port()
        self.run_options = words("--data", data, "--steps", steps)
        self.rehearse = words("--rehearse", rehearse) if rehearse else []
        self.options, self.more, self.limits = words(*options), words(*more), workers
        self.workers, self.master = {}, None
        self.log_json = self.folder / "log.json"
        self.run("keygen", "-o", "keys", "--workers", keys)
        self.alone = like.alone if like else self.folder / "alone"
        if like:
            for name in ("profile", "plans"):
                shutil.copytree(like.folder / "journal" / name, self.folder / "journal" / name, ignore=shutil.ignore_patterns("*.new"))

    def run(self, *all, timeout=300):
        done = subprocess.run(self.on_host("master", words(self.stagecc, *all)), cwd=self.folder, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"{all}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    # Processes
    def log(self, name):
        return self.folder / f"{name}.log"

    def start(self, name, *all, **environment):
        with open(self.log(name), "a") as out:
            return subprocess.Popen(self.on_host(name, words(self.stagecc, *all)), cwd=self.folder, stdout=out, stderr=out, env={**os.environ, **environment})

    def start_master(self, **environment):
        low, high = self.limits
        self.master = self.start("master", "master", self.model, *self.options, *self.run_options, *self.rehearse, "--workers", f"{low}:{high}", "--listen", f"{self.address}:{self.port}",
                                 "--log-json", "log.json", "--checkpoint", "saved", *self.more, **environment)
        return self.master

    def start_worker(self, i, *more):
        self.workers[i] = self.start(f"worker{i}", "worker", "--master", f"{self.address}:{self.port}", "--key", f"keys/worker{i}.key", "--dir", f"cache{i}", *more)
        return self.workers[i]

    @staticmethod
    def children(process):
        return pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    def programs(self, i):
        """Process numbers of a worker's programs."""
        return [int(p) for p in self.children(self.workers[i]) if is_program(p)]

    def builds(self):
        """Does the master compile?"""
        return bool(self.children(self.master))

    def stop(self):
        for p in [self.master, *self.workers.values()]:
            if p and p.poll() is None:
                p.kill()
        for p in [self.master, *self.workers.values()]:
            if p:
                p.wait()

    # Questions
    def status(self):
        try:
            return json.loads(self.run("status", "--json", "--master", f"{self.address}:{self.port}"))
        except AssertionError:
            return {"step": -1, "phase": "away", "epoch": 0, "workers": [], "plan": None, "events": []}

    def rescale(self, *all):
        return self.run("rescale", *all, "--master", f"{self.address}:{self.port}")

    def wait(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.master.poll() is not None:
                raise AssertionError(f"{what}: the master has ended, {self.master.returncode}\n{self.all_logs()}")
            s = self.status()
            if condition(s):
                return s
            time.sleep(self.ask_every_s)
        raise AssertionError(f"{what}: not within {seconds} s; {self.all_logs()}")

    def wait_step(self, step, seconds=60):
        return self.wait(f"step {step}", lambda s: s["step"] >= step, seconds)

    def wait_stages(self, n, seconds=60):
        return self.wait(f"{n} stages", lambda s: s["phase"] == "running" and s["plan"] and len(s["plan"]["stages"]) == n, seconds)

    def wait_end(self, status=0, *, seconds=120):
        assert self.master.wait(seconds) == status, f"{self.master.returncode}\n{self.all_logs()}"
        for i, w in self.workers.items():
            assert w.wait(10) in (0, -signal.SIGKILL), f"worker{i}: {w.returncode}\n{self.all_logs()}"

    def finish(self):
        """Ends training a few steps on, in good order; what it is compared with is as long."""
        self.rescale("--stop")
        self.wait_end(130)
        self.steps = max(losses(self.log_json))
        self.run_options[self.run_options.index("--steps") + 1] = str(self.steps)

    def all_logs(self):
        return "".join(f"--- {f.name}\n{f.read_text()[-3000:]}" for f in sorted(self.folder.glob("*.log")))

    # What came of it
    def reference(self):
        """The same training as one program that nobody disturbs."""
        if not self.alone.exists():
            self.run("build", self.model, *self.options, "--stages", 1, "--no-svg", "-o", self.alone)
        self.run("run", self.alone, *self.run_options, "--log-json", self.alone_log(), "--checkpoint", self.alone / "saved", timeout=1500)

    def alone_log(self):
        return self.alone / f"log-{self.steps}.json"

    def check(self):
        name = f"step-{self.steps:06d}"
        if not self.alone_log().exists():
            self.reference()
        mine, alone = losses(self.log_json), losses(self.alone_log())
        assert len(alone) == self.steps
        assert mine == alone, f"other losses: {sorted(set(mine.items()) ^ set(alone.items()))[:6]}\n{self.all_logs()}"
        saved, expected = tensors(self.folder / "saved" / name), tensors(self.alone / "saved" / name)
        assert saved.keys() == expected.keys(), saved.keys() ^ expected.keys()
        for tensor, value in expected.items():
            assert saved[tensor] == value, f"{tensor} is another one"
