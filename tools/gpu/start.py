"""Steps 1 and 2: the machine, and what was carried."""
import os
import pathlib
import platform
import shutil
import tarfile

from build import Tools, build_again, build_card, build_kernels, build_messages, build_tests, kernel_tests, must
from place import Trouble, find_nvcc, json_lines, side_by_side


def unpack(tar_file, to):
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    with tarfile.open(tar_file, "r:*") as tar:
        tar.extractall(to)


# 1 ----------------------------------------------------------------------------------------------


def system(place):
    report, system = place.report, pathlib.Path("/proc/version")
    kernel = system.read_text().split("(")[0].strip() if system.exists() else platform.platform()
    libc = " ".join(platform.libc_ver())
    tools = {name: shutil.which(name) for name in ("cc", "c++", "cmake", "ninja", "compute-sanitizer")} | {"nvcc": find_nvcc()}
    missing = [name for name, path in tools.items() if not path]
    place.facts["system"] = {"kernel": kernel, "libc": libc, "cores": os.cpu_count(), "missing": missing}
    report.passed("system", f"{kernel}, {libc}, {os.cpu_count()} cores" + (f"; without {', '.join(missing)}" if missing else ""))


def card_info(place):
    """What `stagecc-card info` says; place.why_not where there is no card."""
    done = place.run([place.card, "info"])  # libraries of a gigabyte are read for the first time
    if done.status == 0:
        return json_lines(done.out)
    place.why_not = "no driver" if "no driver" in done.err else f"no device: {done.why()}"
    return []


def machine(place):
    system(place)
    report = place.report
    if shutil.which("nvidia-smi"):
        done = place.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used,clocks.sm,power.draw", "--format=csv,noheader"], 20)
        report.judge("nvidia-smi", done.status == 0, done.out.strip().replace("\n", "; ") if done.status == 0 else done.why())
    else:
        report.not_run("nvidia-smi", "it is not on the PATH")
    if not place.card.exists():
        place.why_not = place.why_not or "no programs were carried"
        report.not_run("card", place.why_not)
        return
    lines = card_info(place)
    place.facts["card"] = lines
    if not lines:
        report.not_run("card", place.why_not)
        return
    for card in (line for line in lines if "device" in line):
        report.passed("card", f"{card['name']}, {card['capability']}, {card['processors']} processors, {card['memory_bytes'] >> 20} of "
                              f"{card['total_bytes'] >> 20} MiB free, driver {card['driver']}, runtime {card['runtime']}", **{k: v for k, v in card.items() if k != "name"})
    for line in (line for line in lines if "library" in line):
        told = str(line.get("version", line.get("missing")))
        if line["library"] == "NCCL" and "missing" in line:
            report.not_run("NCCL", told)  # programs do without
        else:
            report.judge(line["library"], "version" in line, told)


# 2 ----------------------------------------------------------------------------------------------


def starts(done):
    """Did the loader take it? What the program says to its arguments is another matter."""
    return done.status is not None and done.status not in (126, 127) and "GLIBC" not in done.err


def folders(place):
    return sorted(p.parent for p in (place.root / "programs").rglob("build.ninja"))


def link_stagecc(place):
    jansson = [] if place.manifest["static_jansson"] else ["-ljansson"]
    (place.root / "stagecc").unlink()
    must(["cc", place.root / "stagecc.o", "-o", place.root / "stagecc", *jansson, "-lm", "-ldl", "-lpthread"])


def own_programs(place, tools):
    """(name, function that makes it) of what stagecc has no part in."""
    names, work = [p.stem for p in (place.root / "expected").glob("*.bits")] or kernel_tests(), place.work / "own"
    messages = [("messages", lambda: build_messages(tools, place.root / "messages", work))] if (place.root / "messages").exists() else []
    return [("stagecc-card", lambda: build_card(tools, place.card, work)),
            ("kernels", lambda: build_kernels(tools, place.root / "kernels", work)), *messages,
            ("device_tests", lambda: build_tests(tools, place.root / "device_tests", not tools.simulated, names, work))]


def start_own(place, tools):
    for name, build in own_programs(place, tools):
        if starts(place.run([place.root / name, "nothing"], 20)):
            continue
        try:
            tools.check()
            place.work.mkdir(exist_ok=True)
            build()
            place.report.passed(name, "did not start as it was carried, was compiled here")
        except Trouble as trouble:
            place.report.failed(name, f"does not start, and cannot be compiled here: {trouble}"[:600])


def start(place):
    """Everything that was carried starts, or is compiled here."""
    report, tools = place.report, Tools(place.root, simulated=place.tiny)
    manifest = place.manifest
    report.passed("unpacked", f"made of {manifest['commit']} on {manifest['date']}{', for a simulated device' if place.tiny else ''}")
    if not starts(place.run([place.stagecc, "--version"], 20)):
        link_stagecc(place)
        report.passed("stagecc", "was linked here: this C library is older")
    report.passed("stagecc", place.must([place.stagecc, "--version"], 20).strip())
    start_own(place, tools)
    again, broken = [], []

    def begin(folder):
        for program in sorted(folder.glob("stage*")):
            if program.suffix == "" and not starts(place.run([program, "--version"], 20)):
                again.append(folder)
                return
        if not (folder / "stage0").exists():
            again.append(folder)

    side_by_side(begin, folders(place))
    for folder in again:
        try:
            tools.check(any(folder.glob("*.cu")))
            build_again(folder, manifest["roots"], tools)
        except Trouble as trouble:
            broken.append(f"{folder.name}: {trouble}"[:300])
    text = f"{len(folders(place))} programs" + (f", {len(again)} of them compiled here" if again else "")
    report.judge("programs", not broken, text if not broken else f"{text}; {broken[0]}")
    if place.why_not and place.card.exists():
        if lines := card_info(place):
            place.why_not, place.facts["card"] = None, lines
            report.passed("card, asked again", "it answers now")
