"""stagecc run --hostfile and stagecc deploy over loopback.

  hosts.py STAGECC SOURCE_DIR
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import fake_ssh


class Site:
    """A folder with the programs of a plan and an ssh of its own."""

    def __init__(self, folder, stagecc, source):
        self.folder, self.stagecc, self.source = folder, stagecc, source
        self.out = folder / "out"
        self.shell = fake_ssh.put(folder / "shell", fake_ssh.SSH)
        (folder / "tmp").mkdir()
        self.environment = dict(os.environ, STAGECC_SSH=str(self.shell), TMPDIR=str(folder / "tmp"), UCX_NET_DEVICES="lo")
        for name in ("XDG_CACHE_HOME", "SLURM_JOB_ID", "SSH_CONNECTION"):
            self.environment.pop(name, None)
        self.must("build", f"{source}/examples/mlp/mlp.c", "--backend", "ref", "--stages", "3", "--no-svg", "-o", self.out)

    def hosts(self, *lines):
        path = self.folder / "hosts"
        path.write_text("".join(line + "\n" for line in lines))
        return path

    def start(self, *words):
        return subprocess.Popen([self.stagecc, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment, cwd=self.folder)

    def finish(self, child, seconds=600):
        stdout, stderr = child.communicate(timeout=seconds)
        end = time.monotonic() + 10
        while self.programs() and time.monotonic() < end:
            time.sleep(0.1)
        assert not self.programs(), f"processes are left: {self.programs()}"
        return child.returncode, stdout, stderr

    def must(self, *words):
        status, stdout, stderr = self.finish(self.start(*words))
        assert status == 0, (words, status, stdout, stderr)
        return stdout, stderr

    def fails(self, wanted, text, *words):
        status, stdout, stderr = self.finish(self.start(*words))
        assert status == wanted and text in stderr, (words, status, stdout, stderr)

    def programs(self):
        """{name: pid} of running stages and hosts."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                exe = os.readlink(folder / "exe")
                cwd = os.readlink(folder / "cwd")
            except OSError:
                continue
            if exe.startswith(str(self.folder)) or (b"stagecc-host" in command[0] and str(self.folder) in cwd):
                found[pathlib.Path(exe).name] = int(folder.name)
        return found

    def run(self, hosts, *options):
        words = ["run", self.out, "--data", f"idx:{self.source}/examples/digits/train", *options]
        return words + (["--hostfile", hosts] if hosts else [])

    def losses(self, log):
        return [json.loads(line)["loss_bits"] for line in log.read_text().splitlines() if "loss_bits" in line]

    def wait_for_step(self, child, log, step, seconds=600):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if log.exists() and log.read_text().count('"loss_bits"') >= step:
                return
            assert child.poll() is None, child.communicate()
            time.sleep(0.05)
        raise AssertionError(f"step {step} was not reached in {seconds} s")


def same_bits(site):
    log = site.folder / "log.json"
    site.must(*site.run(None, "--steps", 30, "--log-json", log))
    alone = site.losses(log)
    for lines in (["localhost slots=2", "127.0.0.1"], ["localhost", "h1", "me@h2"], ["h1 slots=2", "me@h2 slots=4"]):
        trace = site.folder / "trace.json"
        site.must(*site.run(site.hosts(*lines), "--steps", 30, "--log-json", log, "--trace", trace))
        assert site.losses(log) == alone and len(alone) == 30, lines
        events = json.loads(trace.read_text())["traceEvents"]
        assert {e["pid"] for e in events} == {0, 1, 2}, lines
    print("one host, two and three: the same bits")


def killed(site, hosts):
    log = site.folder / "log.json"
    log.unlink(missing_ok=True)
    child = site.start(*site.run(hosts, "--steps", 10000000, "--log-json", log))
    site.wait_for_step(child, log, 5)
    os.kill(site.programs()["stage1"], signal.SIGKILL)
    begin = time.monotonic()
    child.wait(60)
    seconds = time.monotonic() - begin
    status, _, stderr = site.finish(child)
    errors = [line for line in stderr.splitlines() if "error" in line]
    assert status == 4 and len(errors) == 1 and "stage 1 (process " in errors[0], (status, stderr)
    print(f"a killed stage on another host: {seconds:.2f} s: {errors[0]}")


def host_dies(site, hosts):
    log = site.folder / "log.json"
    log.unlink(missing_ok=True)
    child = site.start(*site.run(hosts, "--steps", 10000000, "--log-json", log))
    site.wait_for_step(child, log, 5)
    for name, pid in site.programs().items():
        if name == "stagecc-host" and "home-me@h2" in os.readlink(f"/proc/{pid}/exe"):
            os.kill(pid, signal.SIGKILL)
    status, _, stderr = site.finish(child)
    assert status == 4 and "me@h2" in stderr, (status, stderr)
    print(f"a host that is gone: {stderr.strip()}")


def stopped(site, hosts, target):
    """By a signal to the launcher, or to one stage alone."""
    log, checkpoints = site.folder / "log.json", site.folder / f"ckpt-{target}"
    log.unlink(missing_ok=True)
    child = site.start(*site.run(hosts, "--steps", 10000000, "--log-json", log, "--checkpoint", checkpoints))
    site.wait_for_step(child, log, 5)
    os.kill(site.programs()[target] if target != "launcher" else child.pid, signal.SIGTERM)
    status, _, stderr = site.finish(child)
    found = list(checkpoints.glob("step-*/manifest.json"))
    assert status == 130 and len(found) == 1, (status, stderr)
    step, logged = json.loads(found[0].read_text())["step"], len(site.losses(log))
    assert step == logged, f"a checkpoint of step {step}, but {logged} steps were logged"
    print(f"a signal to {target}: all stopped after step {step}")


def slurm(site):
    """Inside an allocation nodes are reached by srun, which gives its words to no shell."""
    log, before = site.folder / "log.json", dict(site.environment)
    fake_ssh.put(site.folder / "srun", fake_ssh.SRUN)
    site.environment.update(SLURM_JOB_ID="7", PATH=f"{site.folder}:{before['PATH']}")
    del site.environment["STAGECC_SSH"]
    hosts = site.hosts("node1", "node2 slots=2")
    stdout, _ = site.must("deploy", site.out, "--hostfile", hosts, "--json")
    assert [h["copied"] for h in json.loads(stdout)["hosts"]] == [True, True], stdout
    assert len(list(site.folder.glob("srun.home-node*/.cache/stagecc/*/stage1.plans"))) == 2
    site.must(*site.run(hosts, "--steps", 3, "--log-json", log))
    assert len(site.losses(log)) == 3 and len(list(site.folder.glob("srun.home-node*/.cache/stagecc/*/stage0"))) == 2
    site.environment = before
    print("two nodes of an allocation, by srun")


def wrong(site):
    log = site.folder / "log.json"
    site.fails(4, "cannot reach gone by ssh", *site.run(site.hosts("h1 slots=2", "gone"), "--steps", 3))
    site.fails(3, "the plan has 3 stages, these hosts have 2 slots", *site.run(site.hosts("h1", "h2"), "--steps", 3))
    site.fails(4, "cannot reach gone by ssh", "deploy", site.out, "--hostfile", site.hosts("gone"))
    deployed = next(site.folder.glob("shell.home-h1/.cache/stagecc/*/stage1"))
    deployed.write_bytes(deployed.read_bytes() + b"\0")
    hosts = site.hosts("localhost", "h1", "me@h2")
    site.fails(2, "stage1 differs from what was deployed", *site.run(hosts, "--steps", 3))
    stdout, _ = site.must("deploy", site.out, "--hostfile", hosts)
    assert "h1: copied" in stdout and "me@h2: has the same programs already" in stdout, stdout
    site.must(*site.run(hosts, "--steps", 3, "--log-json", log))
    site.must("build", f"{site.source}/examples/mlp/mlp.c", "--backend", "ref", "--stages", "3", "--lr", "0.5", "--no-svg", "-o", site.out)
    site.fails(1, "it is not what was deployed", *site.run(hosts, "--steps", 3))
    print("hosts that are down, few slots, altered and old programs: refused")


def main():
    stagecc, source = sys.argv[1:]
    if not pathlib.Path("/usr/include/ucp/api/ucp.h").exists():
        print("this build has no UCX: apt-get install libucx-dev")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(pathlib.Path(folder), stagecc, source)
        hosts = site.hosts("localhost", "h1", "me@h2")
        site.fails(1, "its programs are on this machine only", *site.run(hosts, "--steps", 3))
        (site.out / "stage1.plans").write_text("of a device's library")  # no program, and it goes along
        site.must("deploy", site.out, "--hostfile", hosts)
        same_bits(site)
        hosts = site.hosts("localhost", "h1", "me@h2")
        killed(site, hosts)
        host_dies(site, hosts)
        for target in ("launcher", "stage2"):
            stopped(site, hosts, target)
        slurm(site)
        wrong(site)


main()
