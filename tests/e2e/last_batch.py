"""The last batch of an epoch is smaller: cuts, schedules and backends train it alike, replicas too, and its numbers
are those of a run whose batches have that size. Evaluation counts every sample once.

  last_batch.py STAGECC SOURCE_DIR
"""
import json
import math
import pathlib
import struct
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402

MSE = """#include <stagecc/model.h>
MODEL(regression)
{
    Tensor h = linear(input("x", F32, 8), 4);
    loss(mse(tanh(h), target("y", F32, 4)));
}
"""

CNN = """#include <stagecc/model.h>
MODEL(cnn)
{
    Tensor x = relu(batch_norm(conv2d(input("image", F32, 1, 8, 8), 16, .kernel = 3, .padding = 1)));
    x = relu(batch_norm(conv2d(x, 16, .kernel = 3, .stride = 2)));
    loss(cross_entropy(linear(flatten(x), 10), target("label", I32)));
}
"""


def real(loss_bits):
    return struct.unpack(">f", bytes.fromhex(loss_bits))[0]


def digits(source, prefix, n):
    """The first n of the training digits."""
    for kind, head, size in (("images.idx3-ubyte", 16, 64), ("labels.idx1-ubyte", 8, 1)):
        raw = (source / f"examples/digits/train-{kind}").read_bytes()
        pathlib.Path(f"{prefix}-{kind}").write_bytes(raw[:4] + n.to_bytes(4, "big") + raw[8:head] + raw[head : head + n * size])
    return f"idx:{prefix}"


def built(stagecc, model, out, options):
    bits.run([stagecc, "build", model, "-o", out, "--no-svg", *options])
    return out


def trained(stagecc, out, data, *options):
    log = out / "log.json"
    bits.run([stagecc, "run", out, "--data", data, "--log-json", log, "--checkpoint", out / "ckpt", *options])
    return bits.losses(log), bits.tensors(sorted((out / "ckpt").glob("step-*"))[-1])


def close(what, have, want):
    assert len(have) == len(want), f"{what}: {len(have)} steps, {len(want)} wanted"
    for (step, a), (_, b) in zip(have, want):
        assert math.isclose(real(a), real(b), rel_tol=2e-5), f"{what}: step {step}: {real(a)}, {real(b)} wanted"


def alike(stagecc, model, data, cuts, options, work):
    """Batches of 64 in 4 parts; 157 samples: the third step has 29, that is 16 and 13."""
    reference = None
    for cut in cuts:
        schedule, ranks, *more = cut.split(" ")
        out = built(stagecc, model, work / cut.replace(" ", "_").replace(":", "-"),
                    ["--batch", "64", "--micro-batches", "4", "--schedule", schedule, "--stage_to_num_ranks", ranks, *more, *options])
        got = trained(stagecc, out, data, "--epochs", "2")
        assert [step for step, _ in got[0]] == [1, 2, 3, 4, 5, 6], f"{cut}: steps {got[0]}"
        reference = reference or got
        if ":2" in ranks or ":3" in ranks:  # replicas add up in groups
            close(cut, got[0], reference[0])
        else:
            assert got == reference, f"{cut}: other bits: {got[0]} {reference[0]}"
        print(f"{cut}: last loss bits {got[0][-1][1]}")


def like_small_batches(stagecc, source, data, work):
    """29 samples: one step an epoch, in two parts of 16 and 13, or in one."""
    mlp = source / "examples/mlp/mlp.c"
    parts = built(stagecc, mlp, work / "parts", ["-n", "1", "--backend", "ref", "--batch", "64", "--micro-batches", "4", "--lr", "0.1"])
    whole = built(stagecc, mlp, work / "whole", ["-n", "1", "--backend", "ref", "--batch", "29", "--micro-batches", "1", "--lr", "0.1"])
    have, want = (trained(stagecc, out, data, "--epochs", "5")[0] for out in (parts, whole))
    close("a batch of 29 in parts", have, want)


def npy(path, rows, columns):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}".encode()
    head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
    values = [math.sin(0.7 * i) for i in range(rows * columns)]
    path.write_bytes(b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head + struct.pack(f"<{len(values)}f", *values))


def every_sample_once(stagecc, work):
    """A loss that counts every sample: 11 of them in parts of 4 are evaluated as in parts of 1."""
    (work / "model.c").write_text(MSE)
    npy(work / "x.npy", 11, 8)
    npy(work / "y.npy", 11, 4)
    data = f"npy:{work}/x.npy,{work}/y.npy"
    losses = []
    for name, batch, parts in (("four", 8, 2), ("one", 1, 1)):
        out = built(stagecc, work / "model.c", work / name, ["-n", "1", "--backend", "ref", "--batch", str(batch), "--micro-batches", str(parts)])
        bits.run([stagecc, "run", out, "--data", data, "--test-data", data, "--eval-only", "--log-json", out / "log.json"])
        last = json.loads((out / "log.json").read_text().splitlines()[-1])
        assert last["samples"] == 11, last
        losses.append(last["test_loss"])
    assert math.isclose(losses[0], losses[1], rel_tol=1e-6), losses
    out = work / "four"
    bits.run([stagecc, "run", out, "--data", data, "--epochs", "2", "--log-json", out / "steps.json"])
    assert len(bits.losses(out / "steps.json")) == 2, "three samples do not fill a part of four"


def main():
    stagecc, source = sys.argv[1], pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        data = digits(source, work / "some", 157)
        alike(stagecc, source / "examples/mlp/mlp.c", data,
              ["1f1b 0:1", "gpipe 0:1,1:1", "1f1b 0:1,1:1,2:1", "1f1b 0:1,1:1 --recompute always", "1f1b 0:3", "1f1b 0:2,1:3",
               "zb-h1 0:1,1:1,2:1", "zb-h1 0:2,1:3", "interleaved 0:1,1:1,2:1,3:1 --virtual-stages 2"],
              ["--backend", "ref", "--momentum", "0.9", "--clip-norm", "1", "--lr", "0.1"], work)
        alike(stagecc, source / "examples/mlp/mlp.c", data, ["pipedream-2bw 0:1", "pipedream-2bw 0:1,1:1,2:1"],
              ["--backend", "ref", "--lr", "0.05"], work)
        (work / "cnn.c").write_text(CNN)
        alike(stagecc, work / "cnn.c", data, ["1f1b 0:1", "gpipe 0:1,1:1"], [], work)
        text = work / "text"  # whose samples a stage counts even if it reads none
        text.write_bytes((source / "README.md").read_bytes()[: 157 * 8 + 1])
        alike(stagecc, source / "examples/gpt/gpt.c", f"text:{text}", ["1f1b 0:1", "1f1b 0:1,1:1"],
              ["-D", "LAYERS=2", "-D", "DIM=16", "-D", "HEADS=2", "-D", "T=8"], work)
        like_small_batches(stagecc, source, digits(source, work / "few", 29), work)
        every_sample_once(stagecc, work)


main()
