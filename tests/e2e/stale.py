"""Asynchronous pipelines and one process that emulates their staleness: the same loss bits and tensors.

  stale.py STAGECC SOURCE_DIR MODEL STEPS CASES [MODEL-OPTS ...]
CASES: SCHEDULE:STAGES:MICRO-BATCHES:DRAIN-EVERY,...; batches have 8 samples a micro-batch. Replicas are
written like 2-1, for two stages. STEPS is cut in two runs, the second of which resumes, where DRAIN-EVERY divides its half.
"""
import os
import pathlib
import re
import shlex
import sys
import tempfile

from same_bits import losses, run, tensors

def own_depth(replicas, stage, per_step):
    """All that is between forward and backward, but for the micro-batch itself; every replica has its part."""
    return replicas[stage] * (-(-sum(replicas[stage:]) // replicas[stage]) - 1)


# How many micro-batches ago the weights were made: (replicas by stage, stage, micro-batches a step).
LAGS = {
    "pipedream": own_depth,
    "pipedream-vertical": lambda replicas, stage, per_step: len(replicas) - 1,
    "pipedream-2bw": lambda replicas, stage, per_step: per_step,
}


def train(command, out, steps, half, data):
    """Loss bits of all steps, and the tensors of the last checkpoint."""
    common = ["--data", data, "--checkpoint", str(out / "ckpt")]
    logged = []
    for i, end in enumerate([half, steps] if half else [steps]):
        resume = ["--resume", str(out / "ckpt")] if i else []
        logged += command([*common, *resume, "--steps", str(end)], out / f"log{i}.json")
    return logged, tensors(sorted((out / "ckpt").glob("step-*"))[-1])


def by_launcher(stagecc, out):
    def command(options, log):
        run([stagecc, "run", out, *options, "--log-json", log])
        return losses(log)

    return command


def by_hand(program):
    def command(options, log):
        words = " ".join(map(shlex.quote, [str(program), *options]))
        run(["sh", "-c", f"STAGECC_REPORT_FD=9 exec {words} 9>{shlex.quote(str(log))}"])
        return losses(log)

    return command


def compile_emulation(source, one, pipeline, replicas, lag, per_step, drain):
    """The program of one stage with its weights set back."""
    rows = []
    for stage, count in enumerate(replicas):
        text = (pipeline / f"stage{stage}.c").read_text()
        for name in re.findall(r'{"([^"]+)", RT_(?:PARAM|ACCUMULATOR),', text):
            rows.append(f'    {{"{name}", {lag(replicas, stage, per_step)}, {count}}},\n')
    (one / "stale.h").write_text(
        f"enum {{ PER_STEP = {per_step}, DRAIN = {drain}, VERSIONS = {2 * sum(replicas) + 2} }};\n"
        "static const struct {\n    const char *name;\n    int micro_batches, replicas;\n} lags[] = {\n" + "".join(rows) + "};\n"
    )
    (one / "stale.c").write_text((source / "tests/e2e/stale.c").read_text())
    line = re.search(r"^//   compile  (.*)$", (one / "stage0.c").read_text(), re.M).group(1)
    words = [word.replace("stage0", "stale") for word in shlex.split(line)]
    words[1:1] = [f"-I{source}"]
    here = os.getcwd()
    os.chdir(one)
    run(words)
    os.chdir(here)
    return one / "stale"


def main():
    stagecc, source, model, steps, cases, *options = sys.argv[1:]
    source, steps = pathlib.Path(source), int(steps)
    data = "idx:" + str(source / "examples/digits/train")
    if "--data" in options:
        at = options.index("--data")
        data = options[at + 1]
        del options[at : at + 2]
    for case in cases.split(","):
        schedule, stages, per_step, drain = case.split(":")
        replicas = [int(r) for r in stages.split("-")] if "-" in stages else [1] * int(stages)
        ranks = ",".join(f"{stage}:{count}" for stage, count in enumerate(replicas))
        sizes = ["--batch", str(8 * int(per_step)), "--micro-batches", per_step, "--no-svg", *options]
        with tempfile.TemporaryDirectory() as folder:
            one, pipeline = pathlib.Path(folder) / "one", pathlib.Path(folder) / "pipeline"
            run([stagecc, "build", model, "--stage_to_num_ranks", ranks, "--schedule", schedule, "--drain-every", drain, "-o", pipeline, *sizes])
            run([stagecc, "build", model, "-n", "1", "-o", one, *sizes])
            program = compile_emulation(source, one, pipeline, replicas, LAGS[schedule], int(per_step), int(drain))
            half = steps // 2 if steps // 2 % int(drain) == 0 else 0
            have = train(by_launcher(stagecc, pipeline), pipeline, steps, half, data)
            want = train(by_hand(program), one, steps, half, data)
        assert len(have[0]) == len(want[0]) == steps, f"{case}: {len(have[0])} and {len(want[0])} steps were logged"
        for a, b in zip(have[0], want[0]):
            assert a == b, f"{case}: loss bits differ: {a} in the pipeline, {b} in one process"
        assert have[1] == want[1], f"{case}: tensors differ"
        print(f"{case}: {steps} steps, {len(have[1])} tensors, last loss bits {have[0][-1][1]}")


main()
