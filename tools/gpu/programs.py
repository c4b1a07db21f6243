"""The programs that are carried: what each is built of, at its real size and as small as a simulated device needs it."""
import collections

import place  # noqa: F401 (finds tests/e2e)
import bits  # of tests/e2e

DIGITS = "idx:{source}/examples/digits/train"
DIGITS_TEST = "idx:{source}/examples/digits/test"
TEXT = "text:{source}/README.md"
PLAIN = ["--optimizer", "sgd", "--momentum", 0, "--weight-decay", 0, "--clip-norm", 0, "--warmup", 0]

# name, model, options, options of a tiny one, data
Program = collections.namedtuple("Program", "name model options tiny data")


def macros(text):
    return [word for macro in text.split() for word in ("-D", macro)]


MLP, CNN, GPT, RESNET = "examples/mlp/mlp.c", "tests/torch/cnn.c", "examples/gpt/gpt.c", "examples/resnet/resnet.c"
SMALL_GPT = macros("LAYERS=4 DIM=128 HEADS=4 T=64") + ["--batch", 16, "--micro-batches", 4]
TINY_GPT = macros("LAYERS=4 DIM=32 HEADS=2 T=8") + ["--batch", 4, "--micro-batches", 2]
SMALL_RESNET = macros("DEPTH=18 IMAGE=16 CHANNELS=1 CLASSES=10")
GPT2 = macros("LAYERS=12 DIM=768 HEADS=12 T=1024 VOCAB=50257 TIED=1 DROPOUT=0")

# Of tests/ops/ops.py: name, options, cases that a simulated device can take. Beside those, none for Strassen's algorithm on
# processors: Python would need seconds for its numbers.
OPS = [("ops-f32", [], "softmax"), ("ops-bf16", ["--bf16"], "softmax"), ("ops-tf32", ["--tf32"], "odd")]
LARGE_OPS = "large"
# Steps from one state: plain SGD, so that a step tells the gradient. Each is built for `ref`, too.
COMPARED = [
    Program("mlp", MLP, ["--batch", 32, "--micro-batches", 2, *PLAIN], ["--batch", 8, "--micro-batches", 2, *PLAIN], DIGITS),
    Program("cnn", CNN, ["--batch", 16, "--micro-batches", 2, *PLAIN], ["--batch", 4, "--micro-batches", 2, *PLAIN], "synthetic:64,5"),
    Program("gpt", GPT, [*macros("LAYERS=2 DIM=64 HEADS=4 T=32"), "--batch", 8, "--micro-batches", 2, *PLAIN],
            [*macros("LAYERS=1 DIM=16 HEADS=2 T=8"), "--batch", 4, "--micro-batches", 2, *PLAIN], TEXT),
]
# Trained until it reads digits.
READER = Program("digits", RESNET, [*SMALL_RESNET, "--optimizer", "adam", "--lr", 0.001, "--lr-schedule", "cosine", "--batch", 32,
                                    "--micro-batches", 1], ["--batch", 16, "--micro-batches", 1], DIGITS)
TINY_READER = MLP  # instead of the ResNet, on a simulated device
EPOCHS, TINY_EPOCHS, ACCURACY, TINY_ACCURACY = 8, 1, 0.95, 0.5
# Cut into stages; the first cut is what the others are compared with.
CUT = [
    (Program("pipeline-gpt", GPT, SMALL_GPT, TINY_GPT, TEXT), (1, 2, 4)),
    (Program("pipeline-cnn", CNN, ["--batch", 16, "--micro-batches", 4, "--momentum", 0.9, "--dtype", "bf16"],
             ["--batch", 8, "--micro-batches", 4, "--momentum", 0.9, "--dtype", "bf16"], "synthetic:64,5"), (1, 2)),
]
# Without batch norm, which no job with several backends has: the first of two stages works on the processor, the second on the card;
# and on the processor both.
MIXED = [
    Program("mixed-mlp", MLP, ["--batch", 40, "--micro-batches", 5, "--clip-norm", 0.1], ["--batch", 40, "--micro-batches", 5, "--clip-norm", 0.1], DIGITS),
    Program("mixed-pictures", "tests/e2e/pictures.c", ["--batch", 64, "--micro-batches", 4], ["--batch", 16, "--micro-batches", 4], "synthetic:100"),
]
MIXED_BACKENDS = ("ref", "cuda")  # ref wants no library
# Measured: samples of a step, operations of a step (None: not said).
RESNET50_FLOP = 3 * 2 * 4.089e9 * 256
GPT2_FLOP = 16 * 1024 * 6 * (124439808 + 12 * 768 * 1024)  # of parameters, and of the half of attention that is not masked
MEASURED = [
    (Program("resnet50", RESNET, [*macros("DEPTH=50"), "--batch", 256, "--micro-batches", 1, "--dtype", "bf16"],
             [], "synthetic:1024,1000"), 256, "images", RESNET50_FLOP),
    (Program("gpt2", GPT, [*GPT2, "--batch", 16, "--micro-batches", 1, "--dtype", "bf16"],
             [*macros("LAYERS=1 DIM=32 HEADS=2 T=16"), "--batch", 2, "--micro-batches", 1, "--dtype", "bf16"],
             "synthetic:256,50257"), 16, "samples", GPT2_FLOP),
]
TINY_RESNET50 = CNN
# Its second layer alone has 250 GB; the tiny one's 1.6 GB, and as much of gradients and of momentum, where a simulated device has 4.
TOO_LARGE = Program("too-large", MLP, [*macros("HIDDEN=250000"), "--batch", 8, "--micro-batches", 1],
                    [*macros("HIDDEN=20000"), "--batch", 8, "--micro-batches", 1], DIGITS)
BAD = Program("bad", MLP, ["--batch", 40, "--micro-batches", 5], ["--batch", 40, "--micro-batches", 5], DIGITS)


def tiny_model(program):
    return {READER.name: TINY_READER, "resnet50": TINY_RESNET50}.get(program.name, program.model)


def tiny_data(program):
    return {"resnet50": "synthetic:64,5", "gpt2": "synthetic:64,256"}.get(program.name, program.data)


def data_of(program, source, tiny):
    return (tiny_data(program) if tiny else program.data).format(source=source)


def build_command(program, stagecc, source, out, tiny, backend="cuda", stages=1, more=()):
    options = program.tiny if tiny else program.options
    model = tiny_model(program) if tiny else program.model
    cut = ["--backend", backend, "--stages", stages] if backend else ["--devices", bits.devices(out.parent / f"{out.name}.json", *MIXED_BACKENDS)]
    return [stagecc, "build", source / model, *options, *cut, "--no-svg", "-o", out, *more]


def ops_options(options, small, tiny):
    return [*options, "--isa", "avx2", *(["--only", small] if tiny else ["--without", LARGE_OPS])]


def builds(tiny):
    """(folder, program, backend, stages, more options) of all. Without a backend: of those of MIXED_BACKENDS."""
    for program in COMPARED:
        yield f"{program.name}-cuda", program, "cuda", 1, ["--lr", 0.05]
        yield f"{program.name}-ref", program, "ref", 1, ["--dtype", "f64", "--lr", 0.05, "--isa", "avx2"]
    yield READER.name, READER, "cuda", 1, []
    for program, cuts in CUT:
        for stages in cuts:
            yield f"{program.name}-{stages}", program, "cuda", stages, []
    for program in MIXED:
        yield f"{program.name}-ref", program, "ref", 2, ["--isa", "avx2"]
        yield program.name, program, None, None, ["--isa", "avx2"]
    for program, *_ in MEASURED:
        yield program.name, program, "cuda", 1, []
    yield BAD.name, BAD, "cuda", 1, []
    yield TOO_LARGE.name, TOO_LARGE, "cuda", 1, []
