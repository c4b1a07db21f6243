"""What a user sees when a running job fails: one error, the right exit status, nothing left behind.

  failures.py STAGECC SOURCE_DIR
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time


class Job:
    """`stagecc run` on a directory, started in the background."""

    def __init__(self, stagecc, out, data, *options):
        self.log = out / "log.json"
        self.log.unlink(missing_ok=True)
        self.out = out
        self.child = subprocess.Popen([stagecc, "run", out, "--data", data, "--log-json", self.log, *map(str, options)],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for_step(self, step, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.log.exists() and self.log.read_text().count('"loss_bits"') >= step:
                return
            assert self.child.poll() is None, self.child.communicate()
            time.sleep(0.02)
        raise AssertionError(f"step {step} was not reached in {seconds} s")

    def stages(self):
        """{stage: pid} of the running programs."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                exe = os.readlink(folder / "exe")
            except OSError:
                continue
            if exe.startswith(str(self.out.resolve()) + "/stage"):
                found[int(exe.rsplit("stage", 1)[1])] = int(folder.name)
        return found

    def finish(self, seconds=30):
        stdout, stderr = self.child.communicate(timeout=seconds)
        assert not self.stages(), f"processes are left: {self.stages()}"
        return self.child.returncode, stdout, stderr


def build(stagecc, source, out, *options):
    command = [stagecc, "build", f"{source}/examples/mlp/mlp.c", "--backend", "ref", "--stages", "3", "--no-svg", "-o", out, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def killed(stagecc, out, data):
    job = Job(stagecc, out, data, "--steps", 1000000)
    job.wait_for_step(5)
    pids = job.stages()
    assert sorted(pids) == [0, 1, 2], pids
    os.kill(pids[1], signal.SIGKILL)
    begin = time.monotonic()
    status, _, stderr = job.finish()
    seconds = time.monotonic() - begin
    assert status == 4 and seconds < 1, (status, seconds, stderr)
    errors = [line for line in stderr.splitlines() if "error" in line]
    assert len(errors) == 1 and "stage 1" in errors[0], stderr
    print(f"a killed stage: exit 4 after {seconds:.2f} s: {errors[0].strip()}")


def stopped(stagecc, out, data, signal_number):
    checkpoints = out / f"ckpt-{signal_number}"
    job = Job(stagecc, out, data, "--steps", 1000000, "--checkpoint", checkpoints)
    job.wait_for_step(5)
    job.child.send_signal(signal_number)
    status, _, stderr = job.finish()
    assert status == 130, (status, stderr)
    found = list(checkpoints.glob("step-*/manifest.json"))
    assert len(found) == 1, stderr
    step = json.loads(found[0].read_text())["step"]
    logged = job.log.read_text().count('"loss_bits"')
    assert step == logged, f"checkpoint of step {step}, but {logged} steps were logged"
    assert not [p for p in checkpoints.iterdir() if not p.name.startswith("step-")], "rubbish beside the checkpoint"
    print(f"signal {signal_number}: checkpoint of step {step}, exit 130")


def not_finite(stagecc, out, data):
    job = Job(stagecc, out, data, "--steps", 1000, "--lr", 1e6)
    status, _, stderr = job.finish(60)
    assert status == 5, (status, stderr)
    errors = [line for line in stderr.splitlines() if "error" in line]
    assert len(errors) == 1 and "micro-batch" in errors[0] and "step" in errors[0] and "mlp.c:" in errors[0], stderr
    print(f"not finite: {errors[0].strip()}")


def main():
    stagecc, source = sys.argv[1:]
    data = f"idx:{source}/examples/digits/train"
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "mlp"
        build(stagecc, source, out)
        killed(stagecc, out, data)
        stopped(stagecc, out, data, signal.SIGTERM)
        stopped(stagecc, out, data, signal.SIGINT)
        not_finite(stagecc, out, data)


main()
