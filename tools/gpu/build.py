"""How things are compiled, where they are prepared and, if what was carried does not start, where a card is."""
import os
import pathlib
import re
import shutil
import time

from place import SOURCE, Trouble, find_nvcc, run, side_by_side

ARCHITECTURES = [w for n in (80, 90) for w in ("-gencode", f"arch=compute_{n},code=sm_{n}")]
LIMIT_S = 1800  # of one compilation
until = None  # when the step that compiles has to end
NO_TESTS = {"cuda_host"}  # of the fibers themselves
# Those whose sums tensor cores add up as they like: their bits are a device's own.
OWN_BITS = {"flash", "mma"}


def must(command, env=None, limit_s=LIMIT_S, cwd=None):
    done = run(command, min(limit_s, until - time.monotonic()) if until else limit_s, env, cwd)
    if done.status != 0:
        raise Trouble(f"{' '.join(map(str, command[:4]))} …: {done.why()}\n{done.err[-2000:]}")
    return done.out


def kernel_tests():
    return sorted(p.stem.removeprefix("cuda_") for p in (SOURCE / "tests/kernels").glob("cuda_*.cpp") if p.stem not in NO_TESTS)


class Tools:
    """Compilers and folders. root: where libraries and headers of the runtime lie, as `stagecc build` finds them."""

    def __init__(self, root, includes=(), simulated=False):
        self.root, self.simulated, self.nvcc = pathlib.Path(root), simulated, find_nvcc()
        self.cc, self.cxx = shutil.which(os.environ.get("CC") or "cc"), shutil.which(os.environ.get("CXX") or "c++")
        folders = [SOURCE, self.root / "include", *includes]
        if self.nvcc:
            folders.append(pathlib.Path(self.nvcc).resolve().parents[1] / "include")
        self.include = [f"-I{folder}" for folder in dict.fromkeys(folders)]
        self.lib = [f"-L{self.root}", f"-L{self.root}/tests"]
        for folder in ("lib64", "lib"):
            if self.nvcc and (pathlib.Path(self.nvcc).resolve().parents[1] / folder).is_dir():
                self.lib.append(f"-L{pathlib.Path(self.nvcc).resolve().parents[1] / folder}")
        self.system = ["-lm", "-lpthread", "-ldl", "-lrt"]
        self.cudart = ["-rdynamic", "-lcudart_of_tests"] if simulated else ["-lcudart_static"]

    def check(self, wants_nvcc=True):
        missing = [] if self.cc and self.cxx else ["a C and a C++ compiler"]
        if wants_nvcc and not self.simulated and not self.nvcc:
            missing.append("nvcc")
        if missing:
            raise Trouble(f"{' and '.join(missing)} not found")

    def device_code(self, for_device):
        """A compiler of CUDA's text, for a device or for this processor."""
        if for_device:
            return [self.nvcc, "-x", "cu", "-std=c++17", "-O3", "-fmad=false", "--extended-lambda", "--threads", "2", *ARCHITECTURES]
        return [self.cxx, "-x", "c++", "-std=gnu++17", "-O1", "-ffp-contract=off"]


def is_newer(made):
    """Than everything that a test of kernels is made of."""
    sources = [*(SOURCE / "tests/kernels").iterdir(), *(SOURCE / "runtime").rglob("*"), pathlib.Path(__file__)]
    return made.exists() and made.stat().st_mtime > max(p.stat().st_mtime for p in sources)


def build_tests(tools, out, for_device, names, work):
    """The tests of kernels as one program."""
    work.mkdir(parents=True, exist_ok=True)
    compiler = tools.device_code(for_device)

    def build(name):
        made, own = work / f"{name}.o", [f"-D{word}={word}_{name}" for word in ("main", "rt_card_kernels")]
        if not is_newer(made):
            must([*compiler, *own, *tools.include, "-c", SOURCE / f"tests/kernels/cuda_{name}.cpp", "-o", made])
        return made

    objects = side_by_side(build, names)
    tests = " ".join(f"TEST({n})" for n in names)
    libraries = ["-lcuda_reference", "-lstagecc-rt", "-ljansson", *(["-lcudart_static"] if for_device else []), *tools.system]
    out.parent.mkdir(parents=True, exist_ok=True)
    must([tools.cxx, "-std=gnu++17", "-O1", f"-DTESTS={tests}", SOURCE / "tests/kernels/device_tests.cpp", *objects,
          *tools.lib, *libraries, "-static-libstdc++", "-static-libgcc", "-o", out])


def runtime_of(tools):
    """What programs link that drive a device."""
    return [*tools.lib, "-lstagecc-rt-cuda", "-lstagecc-rt", "-ljansson", *tools.cudart, *tools.system]


def build_card(tools, out, _work):
    must([tools.cc, "-std=gnu17", "-O2", *tools.include, SOURCE / "runtime/cuda/ceilings.c", *runtime_of(tools), *(["-lstdc++"] if tools.simulated else []),
          "-o", out])


def build_messages(tools, out, work):
    work.mkdir(parents=True, exist_ok=True)
    must([*tools.device_code(not tools.simulated), *tools.include, "-c", SOURCE / "bench/gpu/card_kernels.cu", "-o", work / "card_kernels.o"])
    must([tools.cc, "-std=gnu17", "-O2", *tools.include, "-c", SOURCE / "bench/gpu/messages.c", "-o", work / "messages.o"])
    must([tools.cxx, work / "messages.o", work / "card_kernels.o", *runtime_of(tools), "-static-libstdc++", "-static-libgcc", "-o", out])


def build_kernels(tools, out, work):
    work.mkdir(parents=True, exist_ok=True)
    must([*tools.device_code(not tools.simulated), *tools.include, "-c", SOURCE / "bench/gpu/kernels.cu", "-o", work / "kernels.o"])
    must([tools.cxx, work / "kernels.o", *tools.lib, *tools.cudart, *tools.system, "-static-libstdc++", "-static-libgcc", "-o", out])


# Programs that stagecc has made, from their build.ninja ------------------------------------------


def steps_of(folder, replace):
    """[[command, ...], ...]: what can run side by side, in order, of a build.ninja as stagecc writes it."""
    variables, rules, objects, programs, rule = {}, {}, [], [], None
    for line in (folder / "build.ninja").read_text().splitlines():
        if made := re.match(r"build (\S+): (\S+) (.+)", line):
            step = variables | {"in": made[3], "out": made[1]}
            words = re.sub(r"\$(\w+)", lambda v: step.get(v[1], ""), rules[made[2]]).split()
            (programs if re.fullmatch(r"stage\d+", made[1]) else objects).append([replace(word) for word in words])
        elif begin := re.match(r"rule (\w+)", line):
            rule = begin[1]
        elif command := re.match(r"  command = (.+)", line):
            rules[rule] = command[1]
        elif variable := re.match(r"(\w+) = ?(.*)", line):
            variables[variable[1]] = variable[2].replace("$ ", " ").replace("$:", ":").replace("$$", "$")
    return [objects, programs]


def build_again(folder, roots, tools):
    """Of programs that were prepared elsewhere: `roots` is what tools.root was called there."""
    def replace(word):
        for root in roots:
            word = word.replace(root, str(tools.root))
        return tools.nvcc if word.endswith("/nvcc") and tools.nvcc else word

    for steps in steps_of(folder, replace):
        side_by_side(lambda command: must(command, cwd=folder), steps)
