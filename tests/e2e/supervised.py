"""What a worker's agent does with programs: job memory and images of its own, limits, reports, and states that are copied
from images of one plan into those of another. Two stages stop before the update of step 3 and go on when they
may; then one stage goes on with their state where they were stopped, and the losses are those of a run that
nobody disturbed.

  supervised.py STAGECC SOURCE_DIR
"""
import json
import mmap
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

STAGECC, SOURCE = sys.argv[1:]
MODEL = """#include <stagecc/model.h>

MODEL(small)
{
    Tensor x = input("image", F32, 1, 16, 16);
    for (int i = 0; i < 3; i++)
        x = relu(batch_norm(conv2d(x, 16, .kernel = 3, .padding = 1, .bias = false)));
    x = relu(linear(dropout(flatten(x), 0.2), 64));
    loss(cross_entropy(linear(x, 10), target("label", I32)));
}
"""
# As plan/segment.h and plan/image.h lay them out.
ABI, PAGE, LINE, HEADER, STATUS, ADDRESS, KEPT, ID = 8, 4096, 64, 256, 320, 1024, 10 * 6208, 192
LAST, NO_LIMIT = 72, 2**64 - 1
JOB_MAGIC, IMAGE_MAGIC = 0x31626F6A67617473, 0x3174617473676174
MAY_BEGIN, MAY_UPDATE, WAITS_FOR_MASTER, UPDATE = 128, 192, 2, 16
STEPS = 8
jobs = []  # of which no program may be left


def up(n, to):
    return (n + to - 1) // to * to


def memory_file(name, size):
    fd = os.memfd_create(name)
    os.ftruncate(fd, size)
    return fd, mmap.mmap(fd, size) if size else None


def build(folder, name, *options):
    (folder / "model.c").write_text(MODEL)
    out = folder / name
    words = [STAGECC, "build", folder / "model.c", "--batch", 24, "--micro-batches", 4, "--optimizer", "adam", "--clip-norm", 1, "--isa", "avx2", "--no-svg", "-o", out, *options]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


class Job:
    """The programs of one plan, on this host, under limits. An image for each, or none yet."""

    def __init__(self, out, begin, update, images=None):
        plan = json.loads((out / "plan.json").read_text())
        self.n = len(plan["ranks"])
        edges = sum(up(LINE + len(e["consumers"]) * (LINE + ID), PAGE) + up(e["slots"] * up(e["bytes"], LINE), PAGE) for e in plan["edges"])
        size = up(up(HEADER + self.n * (STATUS + ADDRESS), PAGE) + self.n * KEPT, PAGE) + edges
        self.fd, self.memory = memory_file("job", size)
        struct.pack_into("<Q4IQ", self.memory, 0, JOB_MAGIC, ABI, self.n, len(plan["edges"]), 1, size)
        struct.pack_into("<Q", self.memory, LAST, NO_LIMIT)
        self.allow(begin, update)
        self.tensors = [tensors(out, i) for i in range(self.n)]
        self.images = images or [memory_file("image", 0)[0] for _ in range(self.n)]
        self.events, read = [], []
        self.programs = [self.start(out, i, read) for i in range(self.n)]
        self.read = read
        jobs.append(self)

    def start(self, out, rank, read):
        come, go = os.pipe()
        os.set_blocking(come, False)
        read.append([come, b""])
        image = self.images[rank]
        words = [out / f"stage{rank}", "--data", "synthetic:100", "--steps", STEPS, "--state", f"/proc/self/fd/{image}"]
        env = dict(os.environ, STAGECC_JOB_FD=str(self.fd), STAGECC_REPORT_FD=str(go), STAGECC_TIMEOUT="0.01")
        program = subprocess.Popen([str(w) for w in words], env=env, pass_fds=[self.fd, go, image])
        os.close(go)
        return program

    def allow(self, begin, update):
        struct.pack_into("<Q", self.memory, MAY_BEGIN, begin)
        struct.pack_into("<Q", self.memory, MAY_UPDATE, update)

    def listen(self):
        for pipe in self.read:
            try:
                while more := os.read(pipe[0], 65536):
                    pipe[1] += more
            except BlockingIOError:
                pass
            *lines, pipe[1] = pipe[1].split(b"\n")
            self.events += [json.loads(line) for line in lines]
        errors = [e for e in self.events if e["event"] == "error"]
        assert not errors, errors

    def until(self, what, holds):
        end = time.monotonic() + 60
        while not holds():
            self.listen()
            assert time.monotonic() < end, f"{what}: never; {self.events}"
            time.sleep(0.005)
        self.listen()

    def until_all_wait(self, steps, opcode):
        def holds():
            status = [struct.unpack_from("<6iq", self.memory, HEADER + i * STATUS) for i in range(self.n)]
            return all(s[5] == WAITS_FOR_MASTER and s[6] == steps and s[1] == opcode for s in status)

        self.until(f"waiting with {steps} steps done", holds)

    def told(self, event, step):
        return {e["rank"] for e in self.events if e["event"] == event and e["step"] == step}

    def until_saved(self, step):
        self.until(f"step {step} saved", lambda: len(self.told("saved", step)) == self.n)

    def losses(self):
        return {e["step"]: e["loss_bits"] for e in self.events if e["event"] == "step"}

    def end(self, kill=False):
        for program in self.programs:
            if kill:
                program.kill()
            assert program.wait(timeout=60) == (-9 if kill else 0)
        self.listen()


def tensors(out, stage):
    done = subprocess.run([out / f"stage{stage}", "--tensors", "/dev/stdout"], capture_output=True, check=True)
    return json.loads(done.stdout)


def generation(image, table, step):
    """The bytes of the generation with this step, its number, cursor and seed."""
    content = os.pread(image, table["image_bytes"], 0)
    magic, plan, _, _, size, seed = struct.unpack_from("<QQIIQq", content)
    assert (magic, f"{plan:016x}", size) == (IMAGE_MAGIC, table["plan"], table["generation_bytes"]) and len(content) == table["image_bytes"]
    for g in range(2):
        at, epoch, index = struct.unpack_from("<qQQ", content, 40 + 24 * g)
        if at == step:
            return content[PAGE + g * size:][:size], (epoch, index), seed
    raise AssertionError(f"no generation has step {step}")


def parts(images, tables, step):
    """{name: (bytes, layout)} of all stages; cursor; seed."""
    found = {}
    for image, table in zip(images, tables):
        content, cursor, seed = generation(image, table, step)
        for t in table["tensors"]:
            found[t["name"]] = content[t["at"]:][:t["bytes"]], t["layout"]
    return found, cursor, seed


def convert(found, cursor, seed, table, step):
    """An image for another plan, of the same parts."""
    content = bytearray(table["image_bytes"])
    struct.pack_into("<QQIIQqqQQqQQ", content, 0, IMAGE_MAGIC, int(table["plan"], 16), table["rank0"], 0, table["generation_bytes"], seed, -1, 0, 0, step, *cursor)
    for t in table["tensors"]:
        data, layout = found.pop(t["name"])
        assert (len(data), layout) == (t["bytes"], t["layout"]), t
        begin = PAGE + table["generation_bytes"] + t["at"]
        content[begin:begin + len(data)] = data
    fd, _ = memory_file("image", len(content))
    os.pwrite(fd, content, 0)
    return fd


def check_limits(out):
    job = Job(out, begin=3, update=2)
    job.until_all_wait(2, UPDATE)
    assert job.told("ready", 0) == {0, 1} and job.told("saved", 2) == {0, 1} and not job.told("saved", 3)
    job.allow(3, 3)
    job.until_all_wait(3, -1)
    assert job.told("saved", 3) == {0, 1} and job.losses().keys() == {1, 2, 3}
    job.allow(6, 5)
    job.until_all_wait(5, UPDATE)
    job.end(kill=True)
    print("two stages stop before an update, and before a step")
    return job


def check_other_plan(job, out):
    """One stage goes on with the state that two had, of which step 5 was the last, and 4 the one before."""
    alone, bits = undisturbed(out)
    for step in 5, 4:
        found, cursor, seed = parts(job.images, job.tensors, step)
        kinds = {t["role"] for table in job.tensors for t in table["tensors"]}
        assert kinds == {"param", "buffer", "state"}, kinds
        image = convert(found, cursor, seed, tensors(out, 0), step)
        assert not found, f"left: {found.keys()}"
        one = Job(out, begin=STEPS, update=STEPS, images=[image])
        one.until_saved(STEPS)
        one.end()
        assert one.told("ready", step) == {0}
        got = one.losses()
        assert parts(one.images, one.tensors, STEPS) == bits, "another state behind the last step"
        assert got == {s: bits for s, bits in alone.items() if s > step}, f"{got}, undisturbed {alone}"
    print("one stage goes on with their state: the same bits")


def undisturbed(out):
    """Losses by step as the launcher tells them, and the state behind the last one."""
    job = Job(out, begin=STEPS, update=STEPS)
    job.until_saved(STEPS)
    job.end()
    log = out / "log.json"
    subprocess.run([STAGECC, "run", out, "--data", "synthetic:100", "--steps", str(STEPS), "--log-json", log], check=True, capture_output=True)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert not any(line.get("event") in ("ready", "saved") for line in lines)
    losses = {line["step"]: line["loss_bits"] for line in lines if "loss_bits" in line and "step" in line}
    assert job.losses() == losses
    return losses, parts(job.images, job.tensors, STEPS)


try:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        two, one = build(folder, "two", "--stages", 2), build(folder, "one", "--stages", 1)
        check_other_plan(check_limits(two), one)
finally:
    for program in (p for job in jobs for p in job.programs if p.poll() is None):
        program.kill()
