"""Our code allocates nothing in a training step, memory stays flat, and the arena is as planned.

  allocations.py STAGECC SOURCE_DIR WATCH_LIBRARY STEPS
A one-stage program runs SHORT steps and then STEPS more of the same, both under a library that counts
allocations by the object file that asked for them. What the longer run asks for beyond the
shorter one is what steps ask for.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

SHORT = 30


def run(command, env=None):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}{done.stderr}")


def arena_resident(pid):
    """Resident bytes of the largest anonymous mapping: the arena."""
    best = 0
    try:
        rss, anonymous = 0, False
        for line in open(f"/proc/{pid}/smaps"):
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                anonymous = len(line.split()) == 5
            elif line.startswith("Rss:") and anonymous:
                best = max(best, int(line.split()[1]) * 1024)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return best


def watched(program, steps, data, library, work):
    """{object file: allocations}, peak resident bytes, resident bytes of the arena."""
    env = dict(os.environ, LD_PRELOAD=str(library), MALLOC_WATCH=str(work / f"watch-{steps}"))
    child = subprocess.Popen([program, "--data", data, "--steps", str(steps)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    arena, ended = [0], threading.Event()

    def watch():
        while not ended.is_set():  # poll() would take the exit status from wait4
            arena[0] = max(arena[0], arena_resident(child.pid))
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    _, status, usage = os.wait4(child.pid, 0)
    ended.set()
    child.returncode = os.waitstatus_to_exitcode(status)
    thread.join()
    assert child.returncode == 0, f"{program} ended with {child.returncode}"
    counts = {}
    for file in work.glob(f"watch-{steps}.*"):
        for line in file.read_text().splitlines():
            name, count, _ = line.rsplit(" ", 2)
            counts[name] = counts.get(name, 0) + int(count)
    return counts, usage.ru_maxrss * 1024, arena[0]


def main():
    stagecc, source, library = sys.argv[1:4]
    more = int(sys.argv[4])
    source = pathlib.Path(source)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        out = work / "out"
        run([stagecc, "build", source / "examples/resnet/resnet.c", "-D", "DEPTH=18", "-D", "IMAGE=8", "-D", "CHANNELS=1", "-D", "CLASSES=10",
             "--batch", 16, "--micro-batches", 2, "--clip-norm", 1, "--momentum", 0.9, "--stages", 1, "--no-svg", "-o", out])
        data = f"idx:{source}/examples/digits/train"
        short, short_rss, _ = watched(out / "stage0", SHORT, data, library, work)
        long, long_rss, arena = watched(out / "stage0", SHORT + more, data, library, work)
        extra = {pathlib.Path(n).name: long[n] - short.get(n, 0) for n in long if long[n] != short.get(n, 0)}
        plan = json.loads((out / "plan.json").read_text())["stages"][0]
        planned = plan["persistent_bytes"] + plan["in_flight"] * plan["slot_bytes"] + plan["scratch_bytes"]
        print(f"allocations in {more} steps, by who asked: {extra or 'none'}")
        print(f"peak resident after {SHORT} steps {short_rss >> 20} MiB, after {SHORT + more} {long_rss >> 20} MiB")
        print(f"arena: planned {planned} bytes, resident {arena}; the rest of the process {(long_rss - arena) >> 20} MiB")
        assert not extra.get("stage0"), "the program itself allocates while it trains"
        assert long_rss - short_rss < 4 << 20, "memory grows while it trains"
        assert abs(arena - planned) <= 0.1 * planned, "the arena is not what the plan says"


main()
