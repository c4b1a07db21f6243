"""The models under examples/: published sizes, and training in stages as PyTorch trains their twins.

  models.py STAGECC SOURCE_DIR count             parameters and multiply-adds of all, as published
  models.py STAGECC SOURCE_DIR train [NAME ...]  training against tests/torch/models.json

The twins' losses were made by tests/torch/models.py from torchvision's and others' definitions of the same
networks, in double. Weights and data are those of tests/torch/pattern.py. The ref backend in double must have the
twin's losses before and after a step of SGD, so all gradients take part. The c backend, in stages, must have the
first one, and on the same batch the loss must fall. (In float, a batch norm of few values magnifies rounding
so much that the second one differs in the third digit.)
"""
import array
import json
import math
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "torch"))
from arrays import write_npy  # noqa: E402
from bits import run  # noqa: E402
from pattern import Pattern, image_batch, token_batch  # noqa: E402

# name, file, macros, parameters, billions of multiply-adds for one sample (None: not published)
# torchvision's documentation; pretrainedmodels' and timm's for NASNet; OpenAI's and Google's checkpoints as
# Hugging Face counts them.
PUBLISHED = [
    ("resnet18", "resnet", "DEPTH=18", 11689512, 1.814),
    ("resnet34", "resnet", "DEPTH=34", 21797672, 3.664),
    ("resnet50", "resnet", "DEPTH=50", 25557032, 4.089),
    ("resnet101", "resnet", "DEPTH=101", 44549160, 7.801),
    ("resnet152", "resnet", "DEPTH=152", 60192808, 11.514),
    ("resnext50_32x4d", "resnet", "DEPTH=50 GROUPS=32 GROUP_WIDTH=4", 25028904, 4.230),
    ("resnext101_32x8d", "resnet", "DEPTH=101 GROUPS=32 GROUP_WIDTH=8", 88791336, 16.414),
    ("wide_resnet50_2", "resnet", "DEPTH=50 GROUP_WIDTH=128", 68883240, 11.398),
    ("wide_resnet101_2", "resnet", "DEPTH=101 GROUP_WIDTH=128", 126886696, 22.753),
    ("vgg11", "vgg", "DEPTH=11", 132863336, 7.609),
    ("vgg13", "vgg", "DEPTH=13", 133047848, 11.308),
    ("vgg16", "vgg", "DEPTH=16", 138357544, 15.470),
    ("vgg19", "vgg", "DEPTH=19", 143667240, 19.632),
    ("alexnet", "alexnet", "", 61100840, 0.714),
    ("squeezenet1_0", "squeezenet", "MINOR=0", 1248424, 0.819),
    ("squeezenet1_1", "squeezenet", "MINOR=1", 1235496, 0.349),
    ("densenet121", "densenet", "DEPTH=121", 7978856, 2.834),
    ("densenet161", "densenet", "DEPTH=161", 28681000, 7.728),
    ("densenet169", "densenet", "DEPTH=169", 14149480, 3.360),
    ("densenet201", "densenet", "DEPTH=201", 20013928, 4.291),
    ("inception_v3", "inception", "", 27161264, None),
    ("inception_v3 without aux", "inception", "AUX=0", 23834568, 5.713),
    ("mobilenet_v2", "mobilenet", "", 3504872, 0.301),
    ("nasnetamobile", "nasnet", "", 5289978, 0.564),
    ("nasnetalarge", "nasnet", "CELLS=6 FILTERS=4032 STEM=96 IMAGE=331", 88753150, None),
    ("vit_b_16", "vit", "", 86567656, 17.564),
    ("vit_b_32", "vit", "PATCH=32", 88224232, 4.409),
    ("vit_l_16", "vit", "LAYERS=24 DIM=1024 HEADS=16", 304326632, 61.555),
    ("vit_s_16", "vit", "DIM=384 HEADS=6", 22050664, None),
    ("gpt2", "gpt", "LAYERS=12 DIM=768 HEADS=12 T=1024 VOCAB=50257 TIED=1", 124439808, None),
    ("gpt2-medium", "gpt", "LAYERS=24 DIM=1024 HEADS=16 T=1024 VOCAB=50257 TIED=1", 354823168, None),
    ("gpt2-large", "gpt", "LAYERS=36 DIM=1280 HEADS=20 T=1024 VOCAB=50257 TIED=1", 774030080, None),
    ("gpt2-xl", "gpt", "LAYERS=48 DIM=1600 HEADS=25 T=1024 VOCAB=50257 TIED=1", 1557611200, None),
    ("bert-base", "bert", "", 109514298, None),
    ("bert-large", "bert", "LAYERS=24 DIM=1024 HEADS=16", 335174458, None),
]

# name, file, macros, samples, stages: what is trained. tests/torch/models.py has a row of the same name.
CLASSES = 10
TRAINED = [
    ("resnext50_32x4d", "resnet", "DEPTH=50 GROUPS=32 GROUP_WIDTH=4 IMAGE=64", 4, 3),
    ("wide_resnet50_2", "resnet", "DEPTH=50 GROUP_WIDTH=128 IMAGE=64", 4, 3),
    ("squeezenet1_0", "squeezenet", "MINOR=0 IMAGE=64 DROPOUT=0", 4, 3),
    ("squeezenet1_1", "squeezenet", "MINOR=1 IMAGE=64 DROPOUT=0", 4, 3),
    ("alexnet", "alexnet", "IMAGE=224 DROPOUT=0", 4, 3),
    ("densenet121", "densenet", "DEPTH=121 IMAGE=64", 4, 3),
    ("densenet161", "densenet", "DEPTH=161 IMAGE=64", 4, 3),
    ("inception_v3", "inception", "DROPOUT=0", 2, 3),
    ("inception_v3 without aux", "inception", "AUX=0 IMAGE=139 DROPOUT=0", 4, 3),
    ("mobilenet_v2", "mobilenet", "IMAGE=64 DROPOUT=0", 4, 3),
    ("nasnetamobile", "nasnet", "DROPOUT=0", 2, 3),
    ("vit", "vit", "LAYERS=3 DIM=64 HEADS=4 PATCH=8 IMAGE=32", 4, 3),
    ("gpt2", "gpt", "LAYERS=3 DIM=64 HEADS=4 T=16 VOCAB=100 TIED=1 DROPOUT=0", 4, 1),
    ("bert", "bert", "LENGTHS=0 LAYERS=3 DIM=64 HEADS=4 T=16 POSITIONS=32 VOCAB=100 TIED=0 DROPOUT=0", 4, 3),
]
STEPS, FLOAT, DOUBLE = 6, 1e-4, 1e-9  # of the c backend; relative errors. PyTorch 1.13 in float is up to 2.8e-5 off (inception_v3)
VOCAB, LENGTH = 100, 16


def model(source, file, macros):
    return [source / f"examples/{file}/{file}.c"] + [w for m in macros.split() for w in ("-D", m)]


# ---- sizes


def multiply_adds(ir):
    """Of convolutions and products, from the shapes of the graph's text."""
    shapes, total = {}, 0
    for name, op, inputs, dims in re.findall(r"^(\S+) = (\w+)((?: [\w.]+)*?)(?: \{[^}]*\})? : \w+\[([\d,]*)\]", ir, re.M):
        shapes[name] = [int(d) for d in dims.split(",") if d]
        read = [shapes[i] for i in inputs.split()]
        if op == "conv2d" or op == "linear":
            total += math.prod(shapes[name]) * math.prod(read[1][1:])
        elif op == "matmul":
            total += math.prod(shapes[name]) * math.prod(read[0]) // math.prod(read[0][:-2]) // shapes[name][-2]
    return total


def count(stagecc, source):
    wrong = 0
    for name, file, macros, parameters, billions in PUBLISHED:
        check = [stagecc, "check", *model(source, file, macros), "--passes=", "--batch", 2, "--micro-batches", 1]  # a batch norm wants two
        said = json.loads(run([*check, "--json"]))
        got = said["parameters"]
        made = multiply_adds(run([*check, "--emit=ir"])) / 2e9 if billions else 0
        good = got == parameters and not said["warnings"] and (billions is None or abs(made - billions) <= 0.0006)
        print(f"{name}: {got} parameters" + (f", {made:.3f} G multiply-adds" if billions else "")
              + ("" if good else f", not {parameters}" + (f" and {billions}" if billions else "")))
        wrong += not good
    return wrong == 0


# ---- training


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * len(values)]}
        at += 4 * len(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, values in tensors.values():
            values.tofile(f)


def role(name, shape):
    if name.endswith(".bias"):
        return "bias"
    return "norm" if name.endswith(".weight") and len(shape) == 1 else "weight"


def write_weights(path, ir):
    pattern, tensors = Pattern(), {}
    for name, dims in re.findall(r"^(\S+) = param \{shape=\[([\d,]+)\]", ir, re.M):
        shape = [int(d) for d in dims.split(",")]
        tensors[name] = (shape, pattern.of(shape, role(name, shape)))
    for name, channels in re.findall(r"^(\S+) = buffer \{shape=\[(\d+)\]", ir, re.M):  # no training step reads them
        tensors[name] = ([int(channels)], array.array("f", [1]) * int(channels))
    write_safetensors(path, tensors)


def write_data(folder, ir, samples):
    dims, = re.findall(r'^\S+ = input \{shape=\[([\d,]+)\], dtype="\w+", role="sample"\}', ir, re.M)
    shape = [int(d) for d in dims.split(",")]
    if len(shape) == 4:
        x, y = image_batch(samples, shape[1], shape[2], CLASSES)
        write_npy(folder / "x.npy", "<f4", shape, x)
        write_npy(folder / "y.npy", "<i4", [samples], y)
    else:
        x, y = token_batch(samples, LENGTH, VOCAB)
        write_npy(folder / "x.npy", "<i4", shape, x)
        write_npy(folder / "y.npy", "<i4", shape, y)


def losses(stagecc, folder, what, steps):
    """Of so many steps on the folder's data, from the folder's weights."""
    out = folder / f"out{steps}"
    run([stagecc, "build", *what, "--no-svg", "-o", out])
    run([stagecc, "run", out, "--data", f"npy:{folder}/x.npy,{folder}/y.npy", "--init", folder / "init.safetensors",
         "--steps", steps, "--log-json", out / "log.json"])
    return [json.loads(line)["loss"] for line in (out / "log.json").read_text().splitlines() if '"loss_bits"' in line]


def train(stagecc, source, folder, row, want):
    name, file, macros, samples, stages = row
    folder.mkdir()
    what = model(source, file, macros) + ["-D", f"CLASSES={CLASSES}", "--batch", samples, "--micro-batches", 1]
    ir = run([stagecc, "check", *what, "--passes=", "--emit=ir"])
    write_weights(folder / "init.safetensors", ir)
    write_data(folder, ir, samples)
    what += ["--optimizer", "sgd", "--lr", want["lr"], "--momentum", 0, "--weight-decay", 0, "--clip-norm", 0, "--warmup", 0]
    double = losses(stagecc, folder, [*what, "--backend", "ref", "--dtype", "f64"], len(want["losses"]))
    staged = losses(stagecc, folder, [*what, "--stages", stages], STEPS)
    errors = [abs(a - b) / abs(b) for a, b in zip(double + staged[:1], want["losses"] + want["losses"][:1])]
    print(f"{name}: in double {max(errors[:-1]):.1e} from PyTorch; in {stages} stages {errors[-1]:.1e}, then "
          + " ".join(f"{v:.5f}" for v in staged), flush=True)
    return max(errors[:-1]) <= DOUBLE and errors[-1] <= FLOAT and staged[-1] < staged[0]


def main():
    stagecc, source, mode, *names = sys.argv[1:]
    source = pathlib.Path(source)
    if mode == "count":
        sys.exit(0 if count(stagecc, source) else "sizes differ from the published ones")
    want = json.loads((source / "tests/torch/models.json").read_text())
    rows = [row for row in TRAINED if not names or row[0] in names]
    with tempfile.TemporaryDirectory() as work:
        good = [train(stagecc, source, pathlib.Path(work) / str(i), row, want[row[0]]) for i, row in enumerate(rows)]
    wrong = [row[0] for row, fine in zip(rows, good) if not fine]
    sys.exit(f"not as PyTorch trains them: {', '.join(wrong)}" if wrong else 0)


main()
