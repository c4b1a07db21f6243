"""`stagecc profile --backend cuda` chooses library kernels by timing, and `build --profile` takes them, on a device that is not there
(tests/cuda/cudart.cpp) and with libraries whose ways to compute the same take what this test says.

  probe.py STAGECC SOURCE_DIR TESTS_FOLDER
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bits  # noqa: E402
from card_link import Linker  # noqa: E402

STAGECC, SOURCE, TESTS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
MODEL = [SOURCE / "tests/torch/cnn.c", "--backend", "cuda", "--batch", "8", "--micro-batches", "2", "--dtype", "bf16", "--no-svg"]
GPT = [SOURCE / "examples/gpt/gpt.c", "--backend", "cuda", "-D", "LAYERS=1", "-D", "DIM=32", "-D", "HEADS=2", "-D", "T=16", "-D", "DROPOUT=0",
       "--batch", "4", "--micro-batches", "2", "--dtype", "bf16", "--no-svg"]
LARGE = 256 << 20  # bytes of a workspace
# Of each library three ways. The second is the fastest.
CHOICE = {"FAKE_LT_MS": "3,1,2", "FAKE_CUDNN_MS": "4,2,3"}


def run(command, **env):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env={**os.environ, **env})
    assert done.returncode == 0, f"{command}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def warnings(done):
    return [line for line in done.stderr.splitlines() if "warning" in line]


def read(path, large=None):
    """{key: (implementation, milliseconds)}, where each implementation is told by the number that its library has for it."""
    kernels = json.loads(path.read_text())["kernels"]
    for k in kernels:  # a float for each row of scores; FAKE_CUDNN_LARGE
        expected = LARGE if k["implementation"] == f"e{large}" else 256 if k["key"].startswith("attention_grad") else 0
        assert k["scratch_bytes"] == k["workspace_bytes"] == expected, k
    return {k["key"]: (number_of(k["implementation"]), round(1e3 * k["seconds"], 6)) for k in kernels}


def number_of(implementation):
    found = re.fullmatch(r"lt \d+\.\d+ (..)[0-9a-f]{126}|e1(\d)", implementation)
    assert found, implementation
    return int(found[1] or found[2], 16)


def is_product(key):
    return key.startswith("matmul")


def probe(program, **env):
    out = program.parent / "probed.json"
    done = run([program, "--probe", out], **{**CHOICE, **env})
    return read(out, env.get("FAKE_CUDNN_LARGE")), warnings(done)


def check_choice(program):
    """By time, of equals the first; not what gives other bits twice, nor what needs more memory than plans count."""
    chosen, said = probe(program)
    assert {is_product(key) for key in chosen} == {True, False} and not said, (chosen, said)
    assert all(found == (1, 1 if is_product(key) else 2) for key, found in chosen.items()), chosen
    again, _ = probe(program, FAKE_LT_MS="2,1,1", FAKE_CUDNN_MS="7,5,5")
    assert all(found == (1, 1 if is_product(key) else 5) for key, found in again.items()), again
    steady, said = probe(program, FAKE_LT_UNSTEADY="1", FAKE_CUDNN_UNSTEADY="11")
    assert steady.keys() == chosen.keys() and all(found == (2, 2 if is_product(key) else 3) for key, found in steady.items()), steady
    refused = [re.search(r"`(lt 0.0 01|e11)[0-9a-f]*` is not taken for `(.*)`: it gave other bits in its second run", line) for line in said]
    assert all(refused) and {r[2] for r in refused} == chosen.keys(), said
    large, said = probe(program, FAKE_CUDNN_LARGE="11")
    assert not said and all(found == ((1, 1) if is_product(key) else (2, 3)) for key, found in large.items()), (large, said)
    none, said = probe(program, FAKE_LT_MS="1", FAKE_LT_UNSTEADY="0")
    assert none.keys() == {key for key in chosen if not is_product(key)} and said, (none, said)
    bare, _ = probe(program, FAKE_LT_BARE="1")
    assert bare == chosen, set(bare.items()) ^ set(chosen.items())
    for mib, want in ("4096", 1), ("200", 2):  # the heuristics' first may be as large as it likes, if there is memory for it
        room, said = probe(program, FAKE_CUDNN_MS="1,2", FAKE_CUDNN_LARGE="10", FAKE_CUDA_MIB=mib)
        assert room == {key: (1, 1) if is_product(key) else (want - 1, want) for key in chosen} and not said, (room, said)
    print(f"{len(chosen)} kernels: the fastest, the fastest that is steady, and the fastest that there is room for", flush=True)
    return chosen


def check_attention(work):
    """Forward and its gradient, and products that keep what gelu is of."""
    run([STAGECC, "build", *GPT, "-o", work / "gpt"])
    chosen, said = probe(work / "gpt/stage0")
    assert not said and all(found == (1, 1 if is_product(key) else 2) for key, found in chosen.items()), (chosen, said)
    for what in "attention ", "attention_grad ", "gelu aux", ", add":
        assert any(what in key for key in chosen), (what, chosen)
    _, said = probe(work / "gpt/stage0", FAKE_CUDNN_LACKS="products")
    assert not said, said
    print(f"{len(chosen)} kernels with attention", flush=True)


def check_profile(folder, chosen):
    """The times are those of a program that has what was chosen."""
    assert read(folder / "kernels.json") == chosen
    program = (folder / "measure/stage0.c").read_text()
    assert program.count(".implementation = ") == len(chosen), program
    assert (folder / "measure/stage0.plans").read_bytes().startswith(b"stagecc plans 1\n")
    layers = {layer["name"]: layer for layer in json.loads((folder / "times.json").read_text())["layers"]}
    own_s = 2e-3  # two launches of batch norm's
    assert abs(layers["conv2"]["forward_s"] - own_s - 2e-3) < 1e-6, layers["conv2"]


def trained(out, **env):
    log = out / "log.json"
    done = run([STAGECC, "run", out, "--data", "synthetic:64,5", "--steps", "3", "--log-json", log], **env)
    return bits.told(log), warnings(done)


def check_programs(work, folder, chosen):
    """Programs have them, with their plans beside; where the library is another one they say so once, and go on."""
    out, plain = work / "out", work / "plain"
    for where, more in (out, ["--profile", folder]), (plain, []):
        run([STAGECC, "build", *MODEL, "--stages", "2", "-o", where, *more])
    texts = "".join((out / f"stage{i}.c").read_text() for i in range(2))
    wanted = re.findall(r'\.implementation = "(.*)"', texts)
    assert len(wanted) >= len(chosen) - 2 and {number_of(name) for name in wanted} == {1}, wanted
    for i in range(2):
        assert (out / f"stage{i}.plans").read_bytes() == (folder / "measure/stage0.plans").read_bytes()
        assert not (plain / f"stage{i}.plans").exists()
    want, said = trained(plain, **CHOICE)
    got, said = trained(out, **CHOICE)
    assert got == want and not said, (got, want, said)
    for other in {"FAKE_LT_REFUSES": "1"}, {"FAKE_LT_VERSION": "130200"}, {"FAKE_LT_MS": "1"}:
        got, said = trained(out, **{**CHOICE, **other})
        assert got == want and 1 <= len(said) <= 2 and all("does not take its algorithm" in line for line in said), (other, said)
        print(f"{other}: {said[0]}", flush=True)
    got, said = trained(out, FAKE_LT_MS=CHOICE["FAKE_LT_MS"])
    assert got == want and said and all("the plan was made with cuDNN's `e11`" in line for line in said), said


with tempfile.TemporaryDirectory() as name:
    work = pathlib.Path(name)
    os.environ.update(STAGECC_CUDA="emulated", STAGECC_CUDA_LIBS=str(TESTS / "host_libraries"), XDG_CACHE_HOME=str(work / "cache"))
    linker = Linker(work, TESTS)
    linker.seen.touch()
    linker.use_card()
    folder = work / "profile"
    said = warnings(run([STAGECC, "profile", *MODEL, "-o", folder], **CHOICE))
    assert not said, said
    chosen = check_choice(folder / "measure/stage0")
    check_profile(folder, chosen)
    check_programs(work, folder, chosen)
    check_attention(work)
