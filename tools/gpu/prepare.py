"""--prepare: builds stagecc and all programs, on a machine that needs no card, and packs them."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import time

import programs
from build import OWN_BITS, Tools, build_kernels, build_messages, build_tests, kernel_tests, must
from place import SOURCE, Trouble, find_nvcc, megabytes, run, side_by_side, tar_of

LIMIT_MIB = 40
TINY_TESTS = ["softmax", "sums"]
SIMULATED_CC = """#!/bin/sh
# A C compiler that links programs with the CUDA runtime of a device that is not there.
here=$(cd "$(dirname "$0")" && pwd)
case " $* " in *" -lstagecc-rt-emulated "*) ;; *) exec cc "$@" ;; esac
for word; do
    shift
    case $word in
    -lstagecc-rt-emulated) set -- "$@" -rdynamic "-L$here/tests" -lstagecc-rt-cuda -lcudart_of_tests -lstdc++ -ldl ;;
    *) set -- "$@" "$word" ;;
    esac
done
exec cc "$@"
"""


def say(what, since=[time.monotonic()]):
    now = time.monotonic()
    print(f"prepare: {what} ({now - since[0]:.0f} s)", flush=True)
    since[0] = now


def build_stagecc(build, simulated):
    """In the folder `build`; whether programs will have jansson in them."""
    for tool in ("cmake", "ninja"):
        if not shutil.which(tool):
            raise Trouble(f"stagecc cannot be built here: {tool} is not on the PATH")
    cc = os.environ.get("CC") or "cc"
    jansson = run([cc, "-print-file-name=libjansson.a"], 10).out.strip()
    static = [f"-Dpkgcfg_lib_JANSSON_jansson={jansson}"] if os.path.isabs(jansson) else []
    done = run(["cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *static], 300)
    if done.status != 0:
        raise Trouble(f"stagecc cannot be built here: {done.why()}")
    targets = ["stagecc", "stagecc-rt", "stagecc-rt-cuda", "stagecc-rt-emulated", "cuda_reference"]
    targets += ["cudart_of_tests", "host_cublaslt", "host_cudnn", "host_nccl", "card_of_tests"] if simulated else []
    done = run(["ninja", "-C", build, f"-j{os.cpu_count()}", *targets], 1800)
    if done.status != 0:
        raise Trouble(f"stagecc cannot be built here: {(done.out + done.err).strip().splitlines()[-1]}")
    if static:
        shutil.copy(jansson, build / "libjansson.a")  # programs find it before the shared one
    return bool(static)


def found(build, *names):
    """Folders that cmake has found, those of these variables that it has."""
    cache = dict(re.findall(r"^(\w+):\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M))
    return [cache[name] for name in names if cache.get(name, "").startswith("/")]


# Programs ---------------------------------------------------------------------------------------


def build_ops(stagecc, out, env, tiny):
    """What tests/ops/ops.py runs."""
    for name, options, small in programs.OPS:
        must([sys.executable, SOURCE / "tests/ops/ops.py", stagecc, "--backend", "cuda", "--trust-ref", "--keep", out / name,
              "--programs", "make", *programs.ops_options(options, small, tiny)], env)
        say(name)


def build_models(stagecc, out, env, tiny):
    def build(row):
        folder, program, backend, stages, more = row
        must(programs.build_command(program, stagecc, SOURCE, out / folder, tiny, backend, stages, more), env)
        say(folder)

    out.mkdir(parents=True, exist_ok=True)
    side_by_side(build, programs.builds(tiny), max(1, (os.cpu_count() or 1) // 2))


def build_own(tools, out, work, tiny, nccl):
    """Programs that stagecc has no part in, and what they ought to say. nccl: the runtime has messages by it."""
    expected, names = out / "expected", TINY_TESTS if tiny else kernel_tests()
    work.mkdir(parents=True, exist_ok=True)
    build_kernels(tools, out / "kernels", work)
    if nccl:
        build_messages(tools, out / "messages", work)
    say("kernels, messages")
    build_tests(tools, work / "device_tests", False, names, work / "processor")
    if tiny:
        shutil.copy(work / "device_tests", out / "device_tests")
    else:
        build_tests(tools, out / "device_tests", True, names, work / "device")
    say("tests of kernels")
    told = side_by_side(lambda n: run([work / "device_tests", n], 900, {"CUDA_TEST_BITS": "1"}), names)
    expected.mkdir(parents=True, exist_ok=True)
    for name, done in zip(names, told):
        if done.status != 0:
            raise Trouble(f"the kernels of {name} fail on this processor: {done.why()}")
        bits = [line for line in done.out.splitlines() if line.startswith("bits ")]
        (expected / f"{name}.bits").write_text("".join(f"{line}\n" for line in bits if name not in OWN_BITS))
    say("bits of kernels on this processor")


# Packing ----------------------------------------------------------------------------------------


def relocatable_stagecc(build, out):
    """stagecc as one object, for machines whose C library is older than this one's."""
    line = must(["ninja", "-C", build, "-t", "commands", "stagecc"]).splitlines()[-1]
    words = [w for w in line.split() if w.endswith((".o", ".a"))]
    objects, archives = [w for w in words if w.endswith(".o")], [w for w in words if w.endswith(".a")]
    must(["cc", "-r", "-nostdlib", "-o", out, *objects, "-Wl,--start-group", *archives, "-Wl,--end-group"], cwd=build)


def copy_runtime(build, carried, simulated):
    shutil.copytree(build / "include", carried / "include")
    (carried / "tests").mkdir()
    names = ["stagecc", "libstagecc-rt.a", "libstagecc-rt-cuda.a", "libjansson.a", "tests/libcuda_reference.a"]
    names += ["tests/libcudart_of_tests.a"] if simulated else []
    for name in names:
        if (build / name).exists():
            shutil.copy(build / name, carried / name)
    shutil.copy(build / ("tests/card_of_tests" if simulated else "stagecc-card"), carried / "stagecc-card")
    if simulated:
        shutil.copytree(build / "tests/host_libraries", carried / "tests/host_libraries")
        (carried / "simulated-cc").write_text(SIMULATED_CC)
        (carried / "simulated-cc").chmod(0o755)
        return
    cudart = pathlib.Path(find_nvcc()).resolve().parents[1]
    for folder in ("lib64", "lib"):
        if (cudart / folder / "libcudart_static.a").exists():
            shutil.copy(cudart / folder / "libcudart_static.a", carried / "libcudart_static.a")
            break


def strip(carried):
    for path in carried.rglob("*.o"):
        if path.name != "stagecc.o":
            path.unlink()
    for path in carried.rglob("*"):
        if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK) and path.read_bytes()[:4] == b"\x7fELF":
            run(["strip", path], 60)


def pack(carried, to):
    with tarfile.open(to, "w:gz", compresslevel=9) as tar:
        tar.add(carried, arcname=".")
    largest = sorted((p for p in carried.rglob("*") if p.is_file()), key=megabytes, reverse=True)[:8]
    print("prepare: largest: " + ", ".join(f"{p.relative_to(carried)} {megabytes(p):.1f}" for p in largest))
    if megabytes(to) > LIMIT_MIB:
        raise Trouble(f"{to} has {megabytes(to):.1f} MiB: more than {LIMIT_MIB}")
    say(f"{to}: {megabytes(to):.1f} MiB")


def commit():
    done = subprocess.run(["git", "-C", str(SOURCE), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip()


def manifest_of(simulated, tools, static, roots):
    version = run([tools.nvcc, "--version"], 20).out.strip().splitlines()[-2:-1] if tools.nvcc else []
    return {"simulated": simulated, "roots": [str(root) for root in roots], "commit": commit(), "date": time.strftime("%Y-%m-%d %H:%M"),
            "nvcc": version, "static_jansson": static}


def prepare(folder, simulated, built=None):
    """simulated: tiny programs for a device that is not there, which show that this tool works. built: a build of stagecc to take."""
    carried, build = folder / "carried", built or folder
    shutil.rmtree(carried, ignore_errors=True)
    static = built is None and build_stagecc(build, simulated)
    if not static and not simulated:
        raise Trouble("programs would want libjansson.so, which the other machine may lack: libjansson.a was not found, or --built was given")
    tools = Tools(build, found(build, "CUDART_INCLUDE", "CUBLASLT_INCLUDE"), simulated)
    tools.check()
    say("stagecc")
    carried.mkdir(parents=True)
    copy_runtime(build, carried, simulated)
    env = {"STAGECC_CUDA": "emulated", "CC": str(carried / "simulated-cc")} if simulated else {}
    build_own(tools, carried, folder / "own", simulated, bool(found(build, "NCCL_INCLUDE")))
    build_models(build / "stagecc", carried / "programs", env, simulated)
    build_ops(build / "stagecc", carried / "programs", env, simulated)
    relocatable_stagecc(build, carried / "stagecc.o")
    strip(carried)
    manifest = manifest_of(simulated, tools, static, [carried, build])
    (carried / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    pack(carried, tar_of(folder))
