"""Public profiles, without the models that were profiled: built in several stages, compiled again without a warning, and trained on
one repeated batch of random images, whose loss must fall.

    profiles.py STAGECC SOURCES SECONDS NAME:STAGES[,STAGES...] ...

SECONDS: most that a build may take, as processor time of all its compilers, which no other load lengthens; 0: not measured. The last number of stages is trained. The profiles lie beside the sources
(shared/data/profiles); without them the test is skipped.
"""
import json
import pathlib
import resource
import shlex
import subprocess
import sys
import tempfile

STEPS, BATCH = 20, 4


def run(*command, cwd=None):
    done = subprocess.run([str(c) for c in command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(map(str, command))}: status {done.returncode}\n{done.stdout[-3000:]}")


def children_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compile_strictly(out):
    rules = (out / "build.ninja").read_text()
    value = lambda name: next(line.split(" = ", 1)[1] for line in rules.splitlines() if line.startswith(name + " = "))
    for source in sorted(out.glob("stage*.c")):
        run(value("cc"), *value("flags").split(), "-Wall", "-Wextra", "-Werror", "-c", "-o", "/dev/null", source)


def losses(stagecc, out):
    log = out / "log.json"
    run(stagecc, "run", out, "--data", f"synthetic:{BATCH}", "--steps", STEPS, "--log-json", log)
    lines = map(json.loads, log.read_text().splitlines())
    return [line["loss"] for line in lines if "step" in line and "loss" in line][:STEPS]


def check(stagecc, profiles, most_s, name, stages):
    with tempfile.TemporaryDirectory() as folder:
        for k in stages:
            out = pathlib.Path(folder) / f"out{k}"
            begin = children_s()
            run(stagecc, "build", profiles / f"{name}.graph.txt", "--stages", k, "--batch", BATCH, "--micro-batches", 2, "--no-svg",
                "-o", out)
            seconds = children_s() - begin
            print(f"{name} in {k} stages: built in {seconds:.1f} s of processor time", flush=True)
            if most_s and seconds > most_s:
                sys.exit(f"that is more than {most_s} s")
            compile_strictly(out)
        loss = losses(stagecc, out)
        first, last = sum(loss[:5]) / 5, sum(loss[-5:]) / 5
        print(f"{name}: loss {first:.3f} -> {last:.3f}", flush=True)
        if len(loss) != STEPS or not last < first:
            sys.exit(f"it does not fall: {loss}")


def main():
    stagecc, sources, most_s = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3])
    profiles = sources / "../shared/data/profiles"
    if not profiles.is_dir():
        print(f"skipped: there are no profiles in {profiles}")
        sys.exit(77)
    for case in sys.argv[4:]:
        name, stages = case.split(":")
        check(stagecc, profiles, most_s, name, [int(k) for k in stages.split(",")])


main()
