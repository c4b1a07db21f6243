"""Every op: gradients against finite differences, the c backend against ref in double.

  ops.py STAGECC [--backend c] [--only NAME] [--isa avx2] [--bf16|--tf32] [--keep FOLDER --programs make|use]

All cases (cases.py) become one model. The inputs of an op are parameters; y = op(...) gets a parameter z
added, and the loss is the sum of mse(y + z, t) with a parameter t as target. One step of plain SGD with
a learning rate of 2^19 writes every gradient into the checkpoint, (before - after) / 2^19, and the
gradient of z tells y itself: dz = 2 (y + z - t) / n.

1. ref, double: y and its gradients at a point; then y at points to both sides along random directions:
   each case's own loss must change as its gradients say. Where it does not, with smaller steps as well:
   a wide one may cross a kink (of relu, of max), a wrong gradient stays wrong. Attention as the one op that a pass
   makes of it: the numbers of its parts.
2. another backend, float: y and all gradients within 1e-5 of ref's, max |a - b| / max |b|; over two
   micro-batches as well, which tests the sums.
3. Optimizers: three steps against the formulas of torch.optim, in double; float within 1e-5.
4. Every op of `check --list-ops` that computes occurs in the graphs.

Programs of --backend cuda run on this processor: STAGECC_CUDA=emulated. For a device they are made in a folder where nvcc is, and
used where the device is; then their bits have to be the same when they run again.

With --bf16 instead: the backend under --dtype bf16 within 1e-2 of ref in double, |a - b| / |b| with the
square norm (4e-2 of several ops in a row), from parameters that are bf16, so that the same element is the
largest of a pool's window; and the same bits when it runs again.
With --tf32 likewise: the cases with products and convolutions under --dtype tf32, within 2e-3 (8e-3 of several in a row, as
in an LSTM), from any parameters: a tensor core may cut off what the 10 bits of an operand leave, which is up to 2^-10 of it.
"""
import argparse
import array
import concurrent.futures
import json
import math
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

from cases import CASES

LR = 2.0**19
STEPS = (1e-5, 1e-6, 1e-7)  # of finite differences
FD_TOLERANCE, FLOAT_TOLERANCE, BF16_TOLERANCE, TF32_TOLERANCE = 1e-7, 1e-5, 1e-2, 2e-3
MULTIPLIES = re.compile(r"= (conv2d|linear|matmul|lstm) ")  # by a library, which may do it in tf32
HEADS = {"c": (), "cuda": (16, 32, 64, 128)}  # features of a head, in bf16; otherwise: any, in any type
INFER = {"x": [2, 16, 3, 3], "g": [16], "b": [16], "m": [16], "v": [16]}  # of batch_norm_infer


class Failure(Exception):
    pass


# Files ------------------------------------------------------------------------------------------


def write_safetensors(path, tensors, dtype):
    """tensors: name -> (shape, values)."""
    size, kind = (8, "d") if dtype == "F64" else (4, "f")
    header, at = {}, 0
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size * len(values)]}
        at += size * len(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, values in tensors.values():
            array.array(kind, values).tofile(f)


def read_safetensors(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    kind, found = {"F32": "f", "F64": "d"}, {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            found[name] = array.array(kind[entry["dtype"]], raw[8 + size + begin : 8 + size + end])
    return found


def write_npy(path, rows):
    head = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
        for row in rows:
            array.array("i", row).tofile(f)


# The model --------------------------------------------------------------------------------------


def elements(shape):
    return math.prod(shape)


def nodes_of_case(name, code, params, dtype, layer):
    """IR text of a case's op alone; local names get the case's name in front."""
    known = {"ids", "labels"}
    lines = []
    for param, shape in params.items():
        lines.append(f'{name}.{param} = param {{shape={shape}, dtype="{dtype}", init="normal"}} of {layer}')
        known.add(param)
    local = {p: f"{name}.{p}" for p in params} | {"ids": "ids", "labels": "labels"}
    for line in code:
        target, rest = (part.strip() for part in line.split("=", 1))
        words, attrs = (rest.replace("REAL", dtype).split("{", 1) + [""])[:2]
        op, *inputs = words.split()
        local[target] = f"{name}.{target}"
        lines.append(f"{local[target]} = {op} {' '.join(local[i] for i in inputs)}"
                     f"{' {' + attrs if attrs else ''} of {layer}")
        if op == "batch_norm":
            lines += running_statistics(local[target], local[inputs[0]], params[inputs[0]] if inputs[0] in params else None,
                                        dtype, layer, line)
    return lines, local["y"]


def running_statistics(norm, x, shape, dtype, layer, line):
    if shape is None:
        return []
    c = shape[1]
    lines = [f'{norm}.running_{w} = buffer {{shape=[{c}], dtype="{dtype}", init="constant", gain={g}}} of {layer}'
             for w, g in (("mean", 0.25), ("var", 1))]
    lines += [f"{norm}.{w} = result {norm} {{index={i}}} of {layer}" for w, i in (("mean", 1), ("var", 2))]
    lines.append(f"{norm}.update = running_update {norm}.running_mean {norm}.running_var {norm}.mean {norm}.var "
                 f"{{momentum=0.1, count={elements(shape) // c}}} of {layer}")
    return lines


def head(cases, block):
    lines = [f"graph ops micro_batch 1 block {block}", "layer data input"]
    lines += [f"layer {name} op @cases.py:{i + 1}:1" for i, (name, _, _) in enumerate(cases)]
    lines += ["layer total add"]
    lines.append('ids = input {shape=[1,12], dtype="i32", role="sample"} of data')
    lines.append('labels = input {shape=[1,12], dtype="i32", role="target"} of data')
    return lines


def infer_case(dtype):
    """batch_norm_infer has no gradient: everything but z and t is a buffer."""
    name = "batch_norm_infer"
    lines = [f'{name}.{p} = buffer {{shape={s}, dtype="{dtype}", init="constant", gain=1}} of {name}' for p, s in INFER.items()]
    lines.append(f"{name}.y = batch_norm_infer {' '.join(f'{name}.{p}' for p in INFER)} {{eps=1e-5}} of {name}")
    return lines, f"{name}.y"


def model(stagecc, cases, dtype, work, title, isa):
    """The whole graph as text, and per case its parameters' shapes, z and t included."""
    text, results = head(cases, 8 if isa == "avx2" else 16), {}
    for name, code, params in cases:
        lines, results[name] = infer_case(dtype) if code is None else nodes_of_case(name, code, params, dtype, name)
        text += lines
    probe = work / f"{title}-shapes.ir"
    probe.write_text("\n".join(text) + "\n")
    printed = run([stagecc, "check", probe, "--passes=", "--emit=ir"])
    shapes = {}
    for name, result in results.items():
        found = re.search(rf"^{re.escape(result)} = .*? : f\d\d\[([\d,]*)\]", printed, re.M)
        y = [int(d) for d in found[1].split(",") if d]
        for p in ("z", "t"):
            text.append(f'{name}.{p} = param {{shape={y}, dtype="{dtype}", init="normal"}} of {name}')
        text.append(f"{name}.sum = add {result} {name}.z of {name}")
        text.append(f"{name}.loss = mse {name}.sum {name}.t of {name}")
        params = dict(next(c[2] for c in cases if c[0] == name)) | {"z": y, "t": y}
        shapes[name] = params
    last = f"{cases[0][0]}.loss"
    for i, (name, _, _) in enumerate(cases[1:]):
        text.append(f"total{i} = add {last} {name}.loss of total")
        last = f"total{i}"
    return "\n".join(text + [f"loss {last}"]) + "\n", shapes


# Running ----------------------------------------------------------------------------------------


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def in_parallel(function, values):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, values))


class Program:
    """A built model; step() runs it once from given parameters and reads what became of them."""

    made = False  # elsewhere, before

    def __init__(self, stagecc, text, backend, dtype, work, name, options=()):
        self.stagecc, self.dir, self.dtype, self.runs = stagecc, work / name, dtype, 0
        if self.made:
            return
        source = work / f"{name}.ir"
        source.write_text(text)
        run([stagecc, "build", source, "--backend", backend, "--lr", LR, "--no-svg", "-o", self.dir, *options])

    def step(self, tensors, steps=1):
        self.runs += 1
        init, checkpoint = self.dir / f"init{self.runs}.safetensors", self.dir / f"ckpt{self.runs}"
        write_safetensors(init, tensors, self.dtype)
        data = f"npy:{self.dir.parent}/ids.npy,{self.dir.parent}/labels.npy"
        run([self.stagecc, "run", self.dir, "--data", data, "--init", init, "--checkpoint", checkpoint, "--steps", steps])
        after = {}
        for shard in checkpoint.glob("step-*/stage-*.safetensors"):
            after.update(read_safetensors(shard))
        return after


def start(shapes, buffers):
    """Every case draws from a generator of its own, so that a case more leaves the others as they are."""
    tensors = {}
    for name, params in shapes.items():
        rng = random.Random(f"start {name}")
        for p, shape in params.items():
            scale = 0.3 if p == "w" and len(shape) == 4 else 1
            values = [rng.gauss(0, 1) * scale for _ in range(elements(shape))]
            tensors[f"{name}.{p}"] = (shape, [single(v) for v in values])
    for name, shape in buffers.items():
        rng = random.Random(f"start {name}")
        values = [single(abs(rng.gauss(0, 1)) + 0.1) for _ in range(elements(shape))]
        tensors[name] = (shape, values)
    return tensors


def single(v):
    """Rounded to float, so that both types start from the same numbers."""
    return array.array("f", [v])[0]


def halved(v):
    """A float rounded to bf16."""
    bits = int.from_bytes(array.array("f", [v]).tobytes(), "little")
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return array.array("f", bits.to_bytes(4, "little"))[0]


def gradients(before, after):
    return {n: [(b - a) / LR for b, a in zip(values, after[n])] for n, (_, values) in before.items()}


def results_of(shapes, before, grads):
    """y of every case, from z's gradient."""
    found = {}
    for name in shapes:
        z, t, dz = before[f"{name}.z"][1], before[f"{name}.t"][1], grads[f"{name}.z"]
        n = len(z)
        found[name] = [d * n / 2 - a + b for d, a, b in zip(dz, z, t)]
    return found


# Checks -----------------------------------------------------------------------------------------


def distance(a, b):
    scale = max((abs(v) for v in b), default=0)
    return max((abs(x - y) for x, y in zip(a, b)), default=0) / max(scale, 1e-30)


def direction(shapes, number):
    """Random numbers for every parameter of every case."""
    way = {}
    for name, params in shapes.items():
        rng = random.Random(f"direction {number} {name}")
        way |= {f"{name}.{p}": [rng.gauss(0, 1) for _ in range(elements(shape))] for p, shape in params.items()}
    return way


def losses_at(shapes, program, before, way, step):
    """Every case's own loss, a step along a direction away from where it started."""
    moved = dict(before)
    for n, offsets in way.items():
        shape, values = before[n]
        moved[n] = (shape, [v + step * w for v, w in zip(values, offsets)])
    y, losses = results_of(shapes, moved, gradients(moved, program.step(moved))), {}
    for name in shapes:
        z, t = moved[f"{name}.z"][1], moved[f"{name}.t"][1]
        losses[name] = math.fsum((a + b - c) ** 2 for a, b, c in zip(y[name], z, t)) / len(z)
    return losses


def derivative_errors(shapes, program, before, grads, way):
    """Relative error of the derivative along one direction, by case; the best of the steps that were needed."""
    errors = {}
    for step in STEPS:
        up, down = (losses_at(shapes, program, before, way, s) for s in (step, -step))
        for name, params in shapes.items():
            measured = (up[name] - down[name]) / (2 * step)
            terms = [g * w for p in params for g, w in zip(grads[f"{name}.{p}"], way[f"{name}.{p}"])]
            scale = math.sqrt(math.fsum(v * v for v in terms)) + 1e-3
            errors[name] = min(errors.get(name, math.inf), abs(measured - math.fsum(terms)) / scale)
        if max(errors.values()) <= FD_TOLERANCE:
            break
    return errors


def check_differences(shapes, program, before, grads, directions):
    """Worst relative error of a directional derivative, by case."""
    found = [derivative_errors(shapes, program, before, grads, direction(shapes, d)) for d in range(directions)]
    return {name: max(errors[name] for errors in found) for name in shapes}


def report(title, worst, limit):
    bad = {n: e for n, e in worst.items() if not e <= limit}
    name = max(worst, key=worst.get)
    print(f"{title}: {len(worst)} compared, worst {worst[name]:.1e} ({name}), limit {limit:.0e}")
    for n, e in sorted(bad.items()):
        print(f"  {n}: {e:.2e}")
    return not bad


def square(values):
    return math.sqrt(math.fsum(v * v for v in values))


def norm_distance(a, b):
    return square(x - y for x, y in zip(a, b)) / max(square(b), 1e-30)


def compare_norms(shapes, before, grads, want, dtype):
    """The same of a program in bf16 or tf32, as parts of what is allowed. The loss's gradient has errors of its own, which
    y = dz n/2 - z + t and sums of it to one number show. Where ops follow each other, errors add up and a relu's
    input may change its sign. So they do over steps of an LSTM, whose products may be in tf32, but never in bf16."""
    worst, steps = {}, {name: len(code or [name]) + (dtype == "tf32" and name.startswith("lstm_")) for name, code, _ in CASES}
    y, want_y = results_of(shapes, before, grads), results_of(shapes, before, want)
    for name, params in shapes.items():
        z, t, limit = before[f"{name}.z"][1], before[f"{name}.t"][1], 1 if steps.get(name, 1) == 1 else 4
        terms = square(want_y[name]) + square(z) + square(t)
        worst[f"{name}.y"] = square(a - b for a, b in zip(y[name], want_y[name])) / terms / limit
        for p in params:
            got, right = grads[f"{name}.{p}"], want[f"{name}.{p}"]
            scale = square(right) + (square(want[f"{name}.z"]) if len(right) == 1 else 0)
            worst[f"{name}.d{p}"] = square(a - b for a, b in zip(got, right)) / max(scale, 1e-30) / limit
    return worst


def compare(shapes, before, grads, want_before, want):
    """Forward and every gradient of a float program against those of ref in double."""
    worst = {}
    y, want_y = results_of(shapes, before, grads), results_of(shapes, want_before, want)
    for name, params in shapes.items():
        # y = dz n/2 - z + t: its own rounding is that of these terms
        scale = max(abs(v) for v in want_y[name] + list(before[f"{name}.z"][1]) + list(before[f"{name}.t"][1]))
        worst[f"{name}.y"] = max(abs(a - b) for a, b in zip(y[name], want_y[name])) / scale
        for p in params:
            worst[f"{name}.d{p}"] = distance(grads[f"{name}.{p}"], want[f"{name}.{p}"])
    return worst


# Optimizers -------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": dict(optimizer="sgd"),
    "decay": dict(optimizer="sgd", weight_decay=0.1),
    "momentum": dict(optimizer="sgd", momentum=0.9, weight_decay=0.01),
    "nesterov": dict(optimizer="sgd", momentum=0.8, nesterov=1, weight_decay=0.01),
    "clip": dict(optimizer="sgd", momentum=0.9, clip_norm=0.05),
    "adam": dict(optimizer="adam", weight_decay=0.1),
    "adamw": dict(optimizer="adamw", weight_decay=0.1, beta1=0.8, beta2=0.95, eps=1e-6),
}


def optimizer_model(dtype):
    return f"""graph train micro_batch 1
layer fit mse
ids = input {{shape=[1,12], dtype="i32", role="sample"}} of fit
labels = input {{shape=[1,12], dtype="i32", role="target"}} of fit
p = param {{shape=[37], dtype="{dtype}", init="normal"}} of fit
t = param {{shape=[37], dtype="{dtype}", init="normal"}} of fit
l = mse p t of fit
loss l
"""


def simulate(o, p, t, steps, lr=0.01):
    """torch.optim.SGD, Adam, AdamW on mse(p, t), where both are trained."""
    x, n = list(p) + list(t), len(p)
    m, v = [0.0] * len(x), [0.0] * len(x)
    wd = o.get("weight_decay", 0)
    for step in range(1, steps + 1):
        g = [2 * (x[i] - x[i + n]) / n for i in range(n)]
        g += [-d for d in g]
        if "clip_norm" in o:
            norm = math.sqrt(math.fsum(d * d for d in g))
            g = [d * min(1, o["clip_norm"] / (norm + 1e-6)) for d in g]
        for i, d in enumerate(g):
            if o["optimizer"] == "sgd":
                d += wd * x[i]
                if o.get("momentum"):
                    m[i] = o["momentum"] * m[i] + d
                    d = d + o["momentum"] * m[i] if o.get("nesterov") else m[i]
                x[i] -= lr * d
                continue
            b1, b2, eps = o.get("beta1", 0.9), o.get("beta2", 0.999), o.get("eps", 1e-8)
            if o["optimizer"] == "adamw":
                x[i] *= 1 - lr * wd
            else:
                d += wd * x[i]
            m[i] = b1 * m[i] + (1 - b1) * d
            v[i] = b2 * v[i] + (1 - b2) * d * d
            x[i] -= lr / (1 - b1**step) * m[i] / (math.sqrt(v[i]) / math.sqrt(1 - b2**step) + eps)
    return x[:n], x[n:]


def build_optimizers(stagecc, backend, dtype, work):
    def build(name):
        options = [w for k, v in OPTIMIZERS[name].items() for w in (f"--{k.replace('_', '-')}", v)]
        text, folder = optimizer_model(dtype.lower()), f"{name}-{backend}-{dtype}"
        return Program(stagecc, text, backend, dtype, work, folder, options + ["--micro-batches", 1, "--lr", 0.01])

    return in_parallel(build, OPTIMIZERS)


def check_optimizers(stagecc, backend, dtype, work, limit):
    rng, worst = random.Random(3), {}
    p, t = ([single(rng.gauss(0, 1)) for _ in range(37)] for _ in range(2))
    for name, program in zip(OPTIMIZERS, build_optimizers(stagecc, backend, dtype, work)):
        after = program.step({"p": ([37], p), "t": ([37], t)}, 3)
        for q, want in zip(("p", "t"), simulate(OPTIMIZERS[name], p, t, 3)):
            worst[f"{name}.{q}"] = distance(after[q], want)
    return report(f"{backend} {dtype}: optimizers", worst, limit)


# ------------------------------------------------------------------------------------------------


def emits(backend, bf16, case):
    """Whether the backend takes a case's batch norm and attention, if it has such."""
    _, code, params = case
    text = "\n".join(code or [])
    heads = re.search(r"= attention .*heads=(\d+)", text)
    return not heads or backend not in HEADS or (bf16 and params["x"][-1] // int(heads[1]) in HEADS[backend])


def check_coverage(stagecc, work, backend, graphs):
    """Ops that nothing here runs. `reorder` is the layout pass's: c alone has it."""
    listed = run([stagecc, "check", "--list-ops"])
    ops = set(re.findall(r"^ *([a-z][a-z0-9_]+)\b", listed, re.M))
    seen = set()
    for text in graphs:
        seen |= set(re.findall(r"^\S+ = (\w+)", text, re.M))
    between_stages = {"encode", "decode"}  # tests/kernels/test_transfer.c
    refused = {"attention", "attention_grad"} if backend in HEADS else set()  # in f32
    missing = sorted(ops - seen - between_stages - refused - {"constant", "state", "result", "buffer", "accumulator"})
    print(f"ops: {len(ops)} in the table, {len(ops & seen)} occur")
    if missing:
        print(f"  no case runs: {' '.join(missing)}")
    return not missing


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stagecc")
    parser.add_argument("--backend", default="c", help="what is compared with ref; ref: nothing is")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--isa", default="native")
    parser.add_argument("--bf16", action="store_true", help="in bf16 instead")
    parser.add_argument("--tf32", action="store_true", help="products and convolutions in tf32 instead")
    parser.add_argument("--trust-ref", action="store_true", help="leave out what is about ref alone")
    parser.add_argument("--without", help="no case whose name contains this")
    parser.add_argument("--keep", help="leave all files in this folder")
    parser.add_argument("--programs", choices=("make", "use"), help="of --keep: make them and stop, or use those that are there")
    args = parser.parse_args()
    Program.made = args.programs == "use"
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(args.keep or folder)
        work.mkdir(parents=True, exist_ok=True)
        good = test(args, work)
    sys.exit(0 if good else 1)


class CasesProgram(Program):
    """Cases as a program; before: what every run starts from."""

    def __init__(self, stagecc, work, isa, cases, backend, dtype, micro_batches, extra=()):
        text, self.shapes = model(stagecc, cases, dtype.lower(), work, f"{backend}-{micro_batches}", isa)
        infer = {f"batch_norm_infer.{p}": s for p, s in INFER.items()} if cases[-1][1] is None else {}
        self.before = start(self.shapes, infer)
        for name, shape in re.findall(r"^(\S+) = buffer {shape=(\[.*?\])", text, re.M):
            shape = json.loads(shape)
            self.before.setdefault(name, (shape, [0.25] * elements(shape)))
        options = ["--micro-batches", micro_batches, "--isa", isa, *extra]
        super().__init__(stagecc, text, backend, dtype, work, f"{backend}-{micro_batches}", options)

    def run_once(self):
        self.after = self.step(self.before)
        return gradients(self.before, self.after)


def check_again(other, got, what):
    same = other.run_once() == got
    print(f"{other.dir.name} {what}: {'the same' if same else 'OTHER'} bits when run again")
    return same


def check_against(ref, other):
    want, got = ref.run_once(), other.run_once()
    worst = compare(ref.shapes, ref.before, got, ref.before, want)
    for name in (n for n in ref.before if ".running_" in n):
        worst[name] = distance(other.after[name], ref.after[name])
    good = report(f"{other.dir.name} F32 against {ref.dir.name} F64", worst, FLOAT_TOLERANCE)
    return good & (not other.made or check_again(other, got, "F32"))


def check_rounded(ref, other, dtype, tolerance):
    if dtype == "bf16":
        ref.before = other.before = {n: (shape, [halved(v) for v in values]) for n, (shape, values) in ref.before.items()}
    want, got = ref.run_once(), other.run_once()
    worst = compare_norms(ref.shapes, ref.before, got, want, dtype)
    for name in (n for n in ref.before if ".running_" in n):
        worst[name] = norm_distance(other.after[name], ref.after[name])
    good = report(f"{other.dir.name} {dtype} against {ref.dir.name} F64", worst, tolerance)
    return good & check_again(other, got, dtype)


def check_ref(stagecc, ref, work):
    worst = check_differences(ref.shapes, ref, ref.before, ref.run_once(), 3)
    good = report("ref F64: gradients against finite differences", worst, FD_TOLERANCE)
    return good & check_optimizers(stagecc, "ref", "F64", work, 1e-12)


def check_joined(stagecc, work, isa):
    """Attention in parts and as the one op that a pass makes of them: the same numbers, and the same elements dropped."""
    cases = [c for c in CASES if c[0].startswith("attention_chain")]
    work = work / "parts"
    work.mkdir(exist_ok=True)
    write_data(work)
    parts = CasesProgram(stagecc, work, isa, cases, "ref", "F64", 1)
    text = run([stagecc, "check", work / "ref-1.ir", "--backend", "cuda", "--dtype", "bf16", "--passes=attention", "--emit=ir"])
    ops = re.findall(r"^\S+ = (\w+)", text, re.M)
    assert ops.count("attention") == len(cases) and "softmax" not in ops, ops
    joined = Program(stagecc, text, "ref", "F64", work, "joined", ["--micro-batches", 1])
    want, got = parts.run_once(), gradients(parts.before, joined.step(parts.before))
    return report("ref F64: attention as one op against its parts", compare(parts.shapes, parts.before, got, parts.before, want), 1e-12)


def test_rounded(args, work, cases, dtype, tolerance):
    jobs = [(cases, "ref", "F64", 2), (cases, args.backend, "F32", 2, ("--dtype", dtype))]
    programs = in_parallel(lambda job: CasesProgram(args.stagecc, work, args.isa, *job), jobs)
    return args.programs == "make" or check_rounded(*programs, dtype, tolerance)


def write_data(work):
    rng = random.Random(4)
    write_npy(work / "ids.npy", [[rng.randrange(7) for _ in range(12)] for _ in range(4)])
    write_npy(work / "labels.npy", [[rng.choice([-1, 0, 1, 2, 3, 4]) for _ in range(12)] for _ in range(4)])


def test(args, work):
    write_data(work)
    cases = [c for c in CASES if args.only in c[0] and not (args.without and args.without in c[0])]
    if args.only in "batch_norm_infer":
        cases.append(("batch_norm_infer", None, {}))
    left = [c for c in cases if emits(args.backend, args.bf16, c)]
    if len(left) < len(cases):
        print(f"{args.backend} does not take {len(cases) - len(left)} of {len(cases)} cases")
    cases = left
    if args.bf16:
        return test_rounded(args, work, cases, "bf16", BF16_TOLERANCE)
    if args.tf32:
        cases = [c for c in cases if MULTIPLIES.search("\n".join(c[1] or []))]
        return test_rounded(args, work, cases, "tf32", TF32_TOLERANCE)
    jobs = [(cases, "ref", "F64", 1)]
    if args.backend != "ref":
        some = cases[::-3][::-1]  # the last one is among them
        jobs += [(cases, args.backend, "F32", 1), (some, "ref", "F64", 2), (some, args.backend, "F32", 2)]
    programs = in_parallel(lambda job: CasesProgram(args.stagecc, work, args.isa, *job), jobs)
    if args.programs == "make":
        build_optimizers(args.stagecc, args.backend, "F32", work)
        return True
    ref = programs[0]
    good = args.trust_ref or check_ref(args.stagecc, ref, work)
    if args.only in "attention_chain" and not args.trust_ref:
        good &= check_joined(args.stagecc, work, args.isa)
    graphs = [run([args.stagecc, "check", work / "ref-1.ir", "--emit=ir", *o]) for o in ([], ["--optimizer", "adam"])]
    if args.backend == "ref":
        graphs.append("x = reorder y\nz = cast x")  # nothing lays out blocks, or is in bf16
    else:
        good &= check_against(*programs[:2]) & check_against(*programs[2:])
        good &= check_optimizers(args.stagecc, args.backend, "F32", work, FLOAT_TOLERANCE)
        if args.programs:  # who made them has looked at their graphs
            return good
        own = [args.stagecc, "check", work / f"{args.backend}-1.ir", "--backend", args.backend, "--emit=ir"]
        graphs += [run([*own, "--isa", args.isa]), run([*own, "--isa", "avx512", "--dtype", "bf16"])]
    if not args.only:
        good &= check_coverage(args.stagecc, work, args.backend, graphs)
    return good


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(str(failure))
