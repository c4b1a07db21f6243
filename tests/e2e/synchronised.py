"""Batch norm whose statistics replicas share. In double, m replicas train as one process does whose micro-batches are
m times larger; every cut and schedule gives the same bits. A round of fewer micro-batches, at the end of a step, is
normalised by itself.

  synchronised.py STAGECC SOURCE_DIR
"""
import json
import math
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402

STAGECC, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
DIGITS = f"idx:{SOURCE}/examples/digits"
MODEL = """#include <stagecc/model.h>
MODEL(cnn)
{
    Tensor x = relu(batch_norm(conv2d(input("image", F32, 1, 8, 8), 4, .kernel = 3, .padding = 1, .bias = false)));
    Tensor y = batch_norm(conv2d(x, 16, .kernel = 3, .stride = 2, .padding = 1, .bias = false));
    x = relu(add(y, batch_norm(conv2d(x, 16, .kernel = 1, .stride = 2, .bias = false))));
    x = relu(batch_norm(conv2d(x, 8, .kernel = 3, .bias = false)));
    loss(cross_entropy(linear(flatten(x), 10), target("label", I32)));
}
"""
DOUBLE = ["--backend", "ref", "--dtype", "f64"]


class Run:
    def __init__(self, work, name, *options, shared=True):
        self.out = work / name
        mode = ["--batch-norm", "synchronised"] if shared else []
        bits.run([STAGECC, "build", work / "cnn.c", "-o", self.out, "--no-svg", "--lr", "0.1", *mode, *options])

    def trained(self, steps, *options, data=f"{DIGITS}/train", name="ckpt"):
        """Losses, and the checkpoint's directory."""
        log = self.out / f"{name}.json"
        bits.run([STAGECC, "run", self.out, "--data", data, "--steps", str(steps), "--log-json", log,
                  "--checkpoint", self.out / name, *options])
        return bits.losses(log), self.out / name / f"step-{steps:06}"

    def last_line(self, name="ckpt"):
        return json.loads((self.out / f"{name}.json").read_text().splitlines()[-1])


def numbers(checkpoint):
    """{name: its elements}"""
    found = {}
    for shard in checkpoint.glob("*.safetensors"):
        raw = shard.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        for name, entry in json.loads(raw[8 : 8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                code, width = {"F64": ("d", 8), "F32": ("f", 4)}[entry["dtype"]]
                found[name] = struct.unpack(f"<{(end - begin) // width}{code}", raw[8 + size + begin : 8 + size + end])
    return found


def distance(a, b):
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    return max(abs(x - y) for name in a for x, y in zip(a[name], b[name]))


def near(what, have, want, most):
    off = distance(have, want)
    assert off < most, f"{what}: off by {off}"
    print(f"{what}: off by {off:.1e}")


def whole_rounds(work):
    """The same rounds in one process, and in two and three replicas."""
    test = ["--test-data", f"{DIGITS}/test", "--eval-every", "5"]
    one = Run(work, "one", *DOUBLE, "--batch", "48", "--micro-batches", "2", "--stages", "1")
    want = numbers(one.trained(5, *test)[1])
    two = ["--batch", "48", "--micro-batches", "4"]
    reference = None
    for name, *options in (
        ("1f1b", "--stage_to_num_ranks", "0:2"),
        ("zb-h1", "--stage_to_num_ranks", "0:2,1:2,2:2", "--schedule", "zb-h1", "--recompute", "always"),
    ):
        run = Run(work, name, *DOUBLE, *two, *options)
        losses, checkpoint = run.trained(5, *test)
        got = losses, bits.tensors(checkpoint), run.last_line()["test_loss"]
        reference = reference or got
        assert got == reference, f"{name}: other bits"
        near(name, numbers(checkpoint), want, 1e-12)
        assert math.isclose(got[2], one.last_line()["test_loss"], rel_tol=1e-12)
    again, checkpoint = run.trained(5, *test, name="again")
    assert (again, bits.tensors(checkpoint)) == reference[:2], "another run, other bits"
    own = Run(work, "own", *DOUBLE, *two, "--stage_to_num_ranks", "0:2", shared=False)
    assert distance(numbers(own.trained(5)[1]), want) > 1e-3, "they would be the same without"
    done = subprocess.run([STAGECC, "run", own.out, "--data", f"{DIGITS}/train", "--steps", "6", "--resume", checkpoint],
                          capture_output=True, text=True)
    assert re.search("replicas 2 from conv1 here, 2 from conv1 .*synchronised.* in the checkpoint", done.stderr), done.stderr


def without_flushes(work):
    """Replicas see the weights of the same step in all micro-batches of a round."""
    options = [*DOUBLE, "--schedule", "pipedream", "--batch", "36", "--drain-every", "7"]
    one = Run(work, "stale1", *options, "--micro-batches", "2", "--stages", "2")
    three = Run(work, "stale3", *options, "--micro-batches", "6", "--stage_to_num_ranks", "0:3,1:3")
    near("pipedream", numbers(three.trained(9)[1]), numbers(one.trained(9)[1]), 1e-12)


def digits(prefix, chosen):
    for kind, head, size in (("images.idx3-ubyte", 16, 64), ("labels.idx1-ubyte", 8, 1)):
        raw = (SOURCE / f"examples/digits/train-{kind}").read_bytes()
        samples = b"".join(raw[head + i * size : head + (i + 1) * size] for i in chosen)
        pathlib.Path(f"{prefix}-{kind}").write_bytes(raw[:4] + len(chosen).to_bytes(4, "big") + raw[8:head] + samples)
    return f"idx:{prefix}"


def with_one_alone(first, pair, alone):
    """What a step of a round of two samples and one of a third makes, of what a step of either round alone does."""
    out = {}
    for name, zero in first.items():
        rows = zip(zero, pair[name], alone[name])
        if "running" in name:  # one after the other, with the default momentum 0.1
            out[name] = [0.9 * a + b - 0.9 * z for z, a, b in rows]
        else:
            out[name] = [z + (2 * (a - z) + (b - z)) / 3 for z, a, b in rows]
    return out


def smaller_rounds(work):
    """Three micro-batches of one sample each for two replicas. Which sample is alone is the data's order's business."""
    data = digits(work / "all", [0, 1, 2])
    uneven = Run(work, "uneven", *DOUBLE, "--batch", "3", "--micro-batches", "3", "--stage_to_num_ranks", "0:2,1:2")
    short = Run(work, "short", *DOUBLE, "--batch", "4", "--micro-batches", "4", "--stage_to_num_ranks", "0:2")
    got, checkpoint = uneven.trained(4, data=data)
    again, other = short.trained(4, data=data)
    assert (got, bits.tensors(checkpoint)) == (again, bits.tensors(other)), "a step that ends early is another one"
    have = numbers(uneven.trained(1, data=data, name="once")[1])
    single = Run(work, "single", *DOUBLE, "--batch", "1", "--micro-batches", "1", "--stages", "1")
    pair = Run(work, "pair", *DOUBLE, "--batch", "2", "--micro-batches", "1", "--stages", "1")
    first = numbers(single.trained(1, "--lr", "0", data=data, name="zero")[1])
    first.update({name: [float("var" in name)] * len(v) for name, v in first.items() if "running" in name})
    found = []
    for i in range(3):
        alone = numbers(single.trained(1, data=digits(work / f"only{i}", [i]), name=f"{i}")[1])
        others = numbers(pair.trained(1, data=digits(work / f"not{i}", [k for k in range(3) if k != i]), name=f"{i}")[1])
        found.append(distance(have, with_one_alone(first, others, alone)))
    assert min(found) < 1e-12 < sorted(found)[1], found
    print(f"a round of one: off by {min(found):.1e}")


def compiled(work):
    """The other backend: float, fused loops, two threads; in bf16, too, where the processor has it."""
    kinds = [[], ["--dtype", "bf16"]] if "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text() else [[]]
    for kind in kinds:
        options, tag = ["--batch", "288", "--threads", "2", *kind], "".join(kind)
        one = Run(work, f"c1{tag}", *options, "--micro-batches", "2", "--stages", "1")
        want = numbers(one.trained(4)[1])
        reference = None
        for ranks in ("0:2",) if kind else ("0:2", "0:2,1:2"):
            run = Run(work, f"c{ranks}{tag}", *options, "--micro-batches", "4", "--stage_to_num_ranks", ranks)
            losses, checkpoint = run.trained(4)
            reference = reference or (losses, bits.tensors(checkpoint))
            assert (losses, bits.tensors(checkpoint)) == reference, f"{ranks}: other bits"
        near(f"c {tag}", numbers(checkpoint), want, 0.05 if kind else 1e-4)


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "cnn.c").write_text(MODEL)
        whole_rounds(work)
        without_flushes(work)
        smaller_rounds(work)
        compiled(work)


main()
