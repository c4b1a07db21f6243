"""Programs of the cuda backend under the runtime that drives a device, on one that is not there (tests/cuda/cudart.cpp):
captured, replayed, asked late for their results, they give the bits of the emulated runtime. With STAGECC_LONG, all cases.

  card.py STAGECC SOURCE_DIR TESTS_FOLDER
"""
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import arrays  # noqa: E402
import bits  # noqa: E402
from card_link import Linker  # noqa: E402

STAGECC, SOURCE, TESTS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
DIGITS, TEXT = f"idx:{SOURCE}/examples/digits/train", f"text:{SOURCE}/README.md"
MLP = ["--batch", "40", "--micro-batches", "5", "--momentum", "0.9", "--clip-norm", "0.1"]
GPT = ["-D", "LAYERS=2", "-D", "DIM=32", "-D", "T=16", "--batch", "8", "--micro-batches", "4", "--optimizer", "adam"]
HEADS = ["-D", "LAYERS=1", "-D", "DIM=32", "-D", "HEADS=2", "-D", "T=16", "--batch", "8", "--micro-batches", "4", "--dtype", "bf16"]
GNMT = ["-D", "VOCAB=40", "-D", "HIDDEN=16", "-D", "LAYERS=2", "-D", "SOURCE=6", "-D", "TARGET=5", "--batch", "8", "--micro-batches", "2", "--lr", "0.1"]
CASES = [  # what it meets, model, data, options
    ("one stage", "examples/mlp/mlp.c", DIGITS, MLP),
    ("messages, replicas", "examples/mlp/mlp.c", DIGITS, [*MLP, "--stage_to_num_ranks", "0:2,1:1"]),
    ("older weights and their copies", "examples/mlp/mlp.c", DIGITS,
     ["--batch", "8", "--micro-batches", "1", "--dtype", "bf16", "--stages", "3", "--schedule", "pipedream"]),
    ("convolutions, weights turned and copied", "tests/torch/cnn.c", "synthetic:100",
     ["--batch", "16", "--micro-batches", "4", "--stages", "2", "--dtype", "bf16"]),
    ("convolutions, sums of batch norm between replicas", "tests/torch/cnn.c", "synthetic:100",
     ["--batch", "4", "--micro-batches", "4", "--stage_to_num_ranks", "0:2", "--batch-norm", "synchronised", "--dtype", "bf16"]),
    ("convolutions and products, weights that are computed", "tests/e2e/computed.ir", "synthetic:24", ["--micro-batches", "2", "--batch", "8", "--dtype", "bf16"]),
    ("products without a row", "examples/gnmt/gnmt.c", "synthetic:64", GNMT),
    ("batches of products, dropout", "examples/gpt/gpt.c", TEXT, [*GPT, "--stages", "2"]),
    ("a stage on the processor before and behind", "examples/mlp/mlp.c", DIGITS, [*MLP, "--devices", "DEVICES"]),
    ("attention, dropout inside", "examples/gpt/gpt.c", TEXT, HEADS),
    ("attention by the library", "examples/gpt/gpt.c", TEXT, [*HEADS, "-D", "DROPOUT=0"]),
]
# A convolution alone, so that it is cuDNN that makes a difference.
CONV = """graph conv micro_batch 4
x = input {shape=[4,3,8,8], dtype="f32", role="sample"}
t = input {shape=[4], dtype="i32", role="target"}
w = param {shape=[10,3,8,8], dtype="f32", init="normal", gain=0.1}
c = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}
y = reshape c {shape=[4,10]}
l = cross_entropy y t
loss l
output y
"""
# Of many parameters, so that copies of them are most of what it holds.
WIDE = """#include <stagecc/model.h>

MODEL(wide)
{
    Tensor x = relu(linear(input("x", F32, 2048), 6000));
    loss(cross_entropy(linear(x, 2048), target("label", I32)));
}
"""
LATER = {"convolutions, sums of batch norm between replicas", "products without a row", "batches of products, dropout",
         "attention, dropout inside", "clipping", "older weights"}  # with STAGECC_LONG only
BAD = [  # what it meets, options: numbers that are not finite
    ("one stage", []),
    ("clipping", ["--clip-norm", "1e9"]),
    ("replicas", ["--stage_to_num_ranks", "0:2,1:1"]),
    ("older weights", ["--stages", "2", "--schedule", "pipedream"]),
]
if not os.environ.get("STAGECC_LONG"):
    CASES, BAD = ([case for case in cases if case[0] not in LATER] for cases in (CASES, BAD))
STEPS = 9
# Of digits a host asks for more than its device has done: who evaluates waits for nobody behind, so a message comes where the one
# before is still to be read.
LONG_TEST = {DIGITS: f"idx:{SOURCE}/examples/digits/test"}


def trained(out, name, data):
    """Evaluates on its way, is stopped and resumed once."""
    ckpt, logs = out / name, [out / f"{name}{i}.json" for i in range(2)]
    common = [STAGECC, "run", out, "--data", data, "--test-data", LONG_TEST.get(data, "synthetic:24"), "--eval-every", "3", "--checkpoint", ckpt]
    bits.run([*common, "--steps", "4", "--log-json", logs[0]])
    bits.run([*common, "--steps", STEPS, "--resume", ckpt, "--log-json", logs[1]])
    return bits.told(logs[0]) + bits.told(logs[1]), bits.tensors(ckpt / f"step-{STEPS:06}")


def images(out, name, data):
    """Of every rank what its image has behind the last two steps, or drains: {rank: {step: {tensor: bytes}}}."""
    state, found = out / f"{name}-state", {}
    bits.run([STAGECC, "run", out, "--data", data, "--steps", STEPS, "--state", state])
    for path in sorted(state.iterdir()):
        image, told = path.read_bytes(), out / "tensors.json"
        (rank,), (size,) = struct.unpack_from("<I", image, 16), struct.unpack_from("<Q", image, 24)
        bits.run([out / path.name.split(".")[0], "--tensors", told])
        tensors = json.loads(told.read_text())["tensors"]
        for g in range(2):
            step, data_at, begin = struct.unpack_from("<q", image, 40 + 24 * g)[0], image[48 + 24 * g:64 + 24 * g], 4096 + g * size
            if step < 0:  # an asynchronous schedule has drained once
                continue
            found.setdefault(rank, {})[step] = {"": data_at, **{t["name"]: image[begin + t["at"]:begin + t["at"] + t["bytes"]] for t in tensors}}
    return found


def check_images(what, want, got):
    for rank, steps in want.items():
        assert steps.keys() == got[rank].keys() and max(steps) == STEPS, f"{what}: images of {rank}: {[*steps]}, {[*got[rank]]}"
        for step, tensors in steps.items():
            differ = [name for name in tensors if tensors[name] != got[rank][step][name]]
            assert not differ, f"{what}: behind step {step} rank {rank} has other tensors: {differ[:5]}"
    assert want.keys() == got.keys(), f"{what}: {[*want]}, {[*got]}"
    print(f"{what}: images of {len(want)} ranks", flush=True)


def stops(out, what, data, *options):
    """Numbers go wrong: the run ends and says where; the last checkpoint is that of the step before. What it says, and that."""
    ckpt = out / what
    command = [STAGECC, "run", out, "--data", data, "--steps", STEPS, "--checkpoint", ckpt, "--checkpoint-every", 1, *options]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if "stagecc: error: " in line]
    assert done.returncode == 5 and len(errors) == 1, f"{what}: exit status {done.returncode}\n{done.stderr}"
    left = sorted(ckpt.glob("step-*"))[-1]
    step = int(left.name[5:]) + 1
    assert step > 1 and f" at step {step}" in errors[0], f"{what}: {left.name} is left, but {errors[0]}"
    return errors[0], bits.tensors(left)


def with_a_nan(work):
    """Digits, and in a late step one without a label, a pixel of which is no number: every loss is finite, gradients are not."""
    pixels = [float("nan") if i == 5 else (7 * i + i // 64) % 11 / 10 for i in range(120 * 64)]
    arrays.write_npy(work / "x.npy", "<f4", [120, 1, 8, 8], pixels)
    arrays.write_rows(work / "y.npy", [i % 10 if i else -1 for i in range(120)])
    return f"npy:{work}/x.npy,{work}/y.npy"


def stop_all(work, name):
    """Of every program in BAD, by a learning rate and by data."""
    data = with_a_nan(work)
    for i, (what, _) in enumerate(BAD):
        yield what, "loss", stops(work / f"bad{i}", f"{name}-rate", DIGITS, "--lr", "1e6")
        yield what, "gradient", stops(work / f"bad{i}", f"{name}-data", data, "--lr", "0.01")


def check_layers(work):
    """Launched one by one a run names the layer."""
    os.environ["STAGECC_CUDA_LAUNCH"] = "1"
    data, layer = with_a_nan(work), re.compile(r"; first trouble: forward of (\w+) \(.*mlp.c:\d+\), micro-batch (\d), stage (\d)")
    for i, (what, _) in enumerate(BAD):
        said, _ = stops(work / f"bad{i}", "by-hand", data, "--lr", "0.01")
        found = layer.search(said)
        assert found and (what != "one stage" or found.groups() == ("hidden1", "1", "0")), f"{what}: {said}"
        print(said.strip(), flush=True)
    del os.environ["STAGECC_CUDA_LAUNCH"]


def refused(program, what, text, status, **env):
    done = subprocess.run([program, "--data", DIGITS, "--steps", "1"], capture_output=True, text=True, env={**os.environ, **env})
    assert done.returncode == status and text in done.stderr, f"{what}: exit status {done.returncode}\n{done.stderr}"
    print(f"{what}: {done.stderr.strip()}", flush=True)


def profiled(out):
    """What `stagecc profile` measures of the mlp."""
    bits.run([STAGECC, "profile", SOURCE / "examples/mlp/mlp.c", "--backend", "cuda", "-o", out, "--no-svg", "--batch", "40",
              "--micro-batches", "5"])
    assert "forward_compute_time=" in (out / "graph.txt").read_text()
    return json.loads((out / "times.json").read_text())


def check_profile(emulated, card):
    """By the device's own clock each launch takes a millisecond, captured or not, and the host takes none; relu is part of its product."""
    names = [layer["name"] for layer in emulated["layers"]]
    assert names == [layer["name"] for layer in card["layers"]] and sum(layer["forward_s"] for layer in emulated["layers"]) > 0
    for layer in card["layers"]:
        for key in ("forward_s", "backward_s"):
            assert abs(layer[key] * 1e3 - round(layer[key] * 1e3)) < 1e-4, layer
    launches = {layer["name"]: (round(layer["forward_s"] * 1e3), round(layer["backward_s"] * 1e3)) for layer in card["layers"]}
    assert launches["hidden1"][0] == 1 and launches["relu1"] == (0, 1) and launches["hidden2"][1] >= 3, launches
    assert abs(sum(layer["update_s"] for layer in card["layers"]) - 1e-3) < 1e-6, card
    assert card["layers"][names.index("relu1")]["update_s"] == 0 < card["layers"][names.index("logits")]["update_s"], card
    assert card["process_bytes"] == 0 and card["library_bytes"] > 32 << 20, card
    print(f"a profile: launches forward and backward {launches}", flush=True)


def check_memory(what, out, data):
    """The plan counts what the runtime makes: all of it, and no more than rooms that it takes for larger."""
    done = subprocess.run([STAGECC, "run", out, "--data", data, "--steps", "1"], capture_output=True, text=True, env={**os.environ, "FAKE_CUDA_MIB": "1"})
    found = re.search(r"stage (\d+) needs ([\d.]+) MiB of its device", done.stderr)
    assert done.returncode == 3 and found, f"{what}: exit status {done.returncode}\n{done.stderr}"
    stage = json.loads((out / "plan.json").read_text())["stages"][int(found[1])]
    need, planned = float(found[2]), (stage["memory_bytes"] - stage["edge_bytes"]) / 2**20
    most = 5 if "convolutions" not in what else 32
    assert planned - most < need < planned + 0.1, f"{what}: it needs {need} MiB, planned are {planned:.1f}"


def check_wide(work):
    """Parameters, gradients and momentum of 94 MiB each, copies of 47: the plan says what is made."""
    (work / "wide.c").write_text(WIDE)
    bits.run([STAGECC, "build", work / "wide.c", "-o", work / "wide", "--no-svg", "--backend", "cuda", "--batch", "8", "--momentum", "0.9", "--dtype", "bf16"])
    check_memory("many parameters", work / "wide", "synthetic:8")


def check_hosts(out, data, folder):
    """On a host with device=cuda each program takes the device of its slot; there is one here, and slot 1 has none."""
    hosts = folder / "hosts"
    for text, status, words in (("localhost slots=3 device=cuda\n", 2, ": this host has the devices 0 to 0"),
                                ("localhost slots=3\n", 3, "these hosts have 0 slots with device=cuda")):
        hosts.write_text(text)
        done = subprocess.run([STAGECC, "run", out, "--hostfile", hosts, "--data", data, "--steps", "1"], capture_output=True, text=True)
        assert done.returncode == status and words in done.stderr, f"{text}: exit status {done.returncode}\n{done.stderr}"
        print(f"{text.strip()}: {done.stderr.strip()}", flush=True)


def check_errors(program):
    wants = "this program wants a CUDA device: "
    refused(program, "no driver", wants + "there is no driver", 2, FAKE_CUDA_DEVICES="0", FAKE_CUDA_DRIVER="0")
    refused(program, "no device", wants + "the driver shows none", 2, FAKE_CUDA_DEVICES="0")
    refused(program, "another device", "STAGECC_CARD=3: this host has the devices 0 to 1", 2, FAKE_CUDA_DEVICES="2", STAGECC_CARD="3")
    for sm in "80", "86", "90":
        bits.run(["env", f"FAKE_CUDA_SM={sm}", program, "--data", DIGITS, "--steps", "1"])
    built = "this program was built for sm_80, sm_90, and its device, none, is sm_"
    refused(program, "a newer device", built + "120: build it again with --arch sm_120", 2, FAKE_CUDA_SM="120")
    refused(program, "an older device", built + "75: programs want sm_80 or newer", 2, FAKE_CUDA_SM="75")
    refused(program, "too little memory", "stage 0 needs 32.1 MiB of its device, which has 5.0 MiB free of 5.0: parameters", 3, FAKE_CUDA_MIB="5")


def check_without(what, setting, value, case, told_here):
    """Where a library lacks something the program has a kernel for it, and says so: other bits, and hardly another loss."""
    out, data = work / str(case), CASES[case][2]
    os.environ[setting] = value
    told_there, _ = trained(out, f"without-{setting}", data)
    done = subprocess.run([STAGECC, "run", out, "--data", data, "--steps", "1"], capture_output=True, text=True)
    del os.environ[setting]
    want, got = ([line["test_loss"] for line in told if "test_loss" in line] for told in (told_here, told_there))
    worst = max(abs(a - b) / a for a, b in zip(want, got, strict=True))
    said = [line for line in done.stderr.splitlines() if "warning" in line]
    assert got != want and worst < 1e-4 and said, f"{what}: off by {worst}\n{done.stderr}"
    print(f"{what}: off by {worst:.1e}; {said[0]}", flush=True)


def losses_of(told):
    return [line["loss_bits"] for line in told if "loss_bits" in line]


def one_run(out, data, **env):
    """Of a single stage: (exit status, bits of losses, what it says)."""
    log = out / "one.json"
    log.unlink(missing_ok=True)
    done = subprocess.run([STAGECC, "run", out, "--data", data, "--steps", "6", "--log-json", log], capture_output=True, text=True,
                          env={**os.environ, **env})
    return done.returncode, losses_of(bits.told(log)) if log.exists() else [], done.stderr


def check_uncaptured(out, data):
    """A library that cannot be captured, and leaves the capture as it was: a warning, and the same bits."""
    _, want, quiet = one_run(out, data)
    status, got, said = one_run(out, data, FAKE_CUDNN_UNCAPTURED="1")
    assert "no CUDA graphs" not in quiet, quiet
    assert status == 0 and got == want and len(got) == 6 and said.count("warning: no CUDA graphs: cuDNN's") == 1, f"{status}: {got}, {want}\n{said}"
    print(f"no capture: {said.strip()}", flush=True)


def check_launches(out, data, launches):
    """A launch that fails is noticed, whichever it is: the run ends, or does without graphs."""
    _, want, _ = one_run(out, data)
    ended = 0
    for n in launches:
        status, got, said = one_run(out, data, FAKE_CUDA_LAUNCH_FAILS=str(n))
        if status == 0:
            assert got == want and "warning: no CUDA graphs: " in said, f"launch {n}: nobody has noticed\n{said}"
        else:
            assert status == 2 and "cannot launch its kernels" in said, f"launch {n}: exit status {status}\n{said}"
            ended += 1
    assert 0 < ended < len(launches), f"{ended} of {len(launches)} runs ended"
    print(f"launches that fail: {ended} of {len(launches)} runs end", flush=True)


def check_tf32(work):
    """Convolutions may go through tensor cores, if the program says so: other bits, and hardly another loss."""
    losses = {}
    (work / "conv.ir").write_text(CONV)
    for name in "f32", "tf32":
        out = work / name
        bits.run([STAGECC, "build", work / "conv.ir", "-o", out, "--no-svg", "--backend", "cuda", "--micro-batches", "2", "--dtype", name])
        told, _ = trained(out, "card", "synthetic:64")
        losses[name] = [line["test_loss"] for line in told if "test_loss" in line]
    worst = max(abs(a - b) / a for a, b in zip(losses["f32"], losses["tf32"], strict=True))
    assert 0 < worst < 1e-2, f"tf32: off by {worst}"
    print(f"tf32: off by {worst:.1e}", flush=True)


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    # Plans of this cuDNN are nobody else's, and it takes none of an earlier one.
    os.environ.update(STAGECC_CUDA="emulated", STAGECC_CUDA_LIBS=str(TESTS / "host_libraries"), XDG_CACHE_HOME=folder)
    linker, want, kept, three = Linker(work, TESTS), [], [], str(bits.devices(work / "devices.json", "c", "cuda", "c"))
    for i, (what, model, data, options) in enumerate(CASES):
        own = [three if o == "DEVICES" else o for o in options]
        backend = [] if own != options else ["--backend", "cuda"]
        bits.run([STAGECC, "build", SOURCE / model, "-o", work / str(i), "--no-svg", *backend, *own])
        want.append(trained(work / str(i), "emulated", data))
        kept.append(images(work / str(i), "emulated", data))
    for i, (_, options) in enumerate(BAD):
        bits.run([STAGECC, "build", SOURCE / "examples/mlp/mlp.c", "-o", work / f"bad{i}", "--no-svg", "--backend", "cuda",
                  "--batch", "20", "--micro-batches", "2", *options])
    emulated = list(stop_all(work, "emulated"))
    times = profiled(work / "profile")
    linker.use_card()
    for i, (what, model, data, options) in enumerate(CASES):
        told_here, tensors = trained(work / str(i), "card", data)
        assert told_here == want[i][0], f"{what}: {told_here}\nnot {want[i][0]}"
        assert sum("loss_bits" in line for line in told_here) == STEPS, told_here
        differ = [name for name in want[i][1] if want[i][1][name] != tensors.get(name)]
        assert not differ and want[i][1].keys() == tensors.keys(), f"{what}: tensors differ: {differ[:5]}"
        check_images(what, kept[i], images(work / str(i), "card", data))
        check_memory(what, work / str(i), data)
        print(f"{what}: {STEPS} steps, {len(tensors)} tensors", flush=True)
    for (what, of, (said, left)), (_, _, (before, want_left)) in zip(stop_all(work, "card"), emulated):
        # Of several stages any may be the first to hear of what its device has found.
        same = said.split(", stage")[0] == before.split("; first trouble")[0] and f"the {of} of " in said
        assert (same or what not in ("one stage", "clipping")) and left == want_left, f"{what}: {said}\nnot {before}"
        print(f"{what}: {said.strip()}", flush=True)
    os.environ["FAKE_CUDA_UNREGISTERED"] = "1"
    check_images("memory that cannot be shared", kept[1], images(work / "1", "unshared", CASES[1][2]))
    del os.environ["FAKE_CUDA_UNREGISTERED"]
    check_layers(work)
    check_profile(times, profiled(work / "profile-card"))
    check_without("attention", "FAKE_CUDNN_LACKS", "products", len(CASES) - 1, want[-1][0])
    for case in 0, len(CASES) - 1:  # relu, and gelu that keeps what it is of
        check_without("epilogues of products", "FAKE_LT_BARE", "1", case, want[case][0])
    check_uncaptured(work / str(len(CASES) - 1), TEXT)
    for case, launches in (0, range(2, 200, 9)), (1, range(3, 200, 7)):  # alone, and where messages are asked for
        check_launches(work / str(case), DIGITS, launches)
    check_tf32(work)
    check_wide(work)
    check_errors(work / "0/stage0")
    check_hosts(work / "1", DIGITS, work)
