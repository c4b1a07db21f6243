"""One model trained in several cuts and schedules gives the same loss bits and the same tensors.

  same_bits.py STAGECC SOURCE_DIR MODEL STEPS CUTS [MODEL-OPTS ...]
CUTS: SCHEDULE[/VIRTUAL_STAGES]:STAGES[:resume][:again],... ; the first is the reference. `resume` stops half way
and goes on from the checkpoint; `again` computes forward again in backward.
"""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from bits import losses, run, tensors  # noqa: E402


def train(stagecc, model, options, cut, steps, work, data):
    schedule, stages, *how = cut.split(":")
    schedule, *parts = schedule.split("/")
    options = [*options, *(["--virtual-stages", *parts] if parts else [])]
    out = work / cut.replace(":", "-").replace("/", "-")
    command = [stagecc, "run", out, "--data", data, "--checkpoint", out / "ckpt"]
    run([stagecc, "build", model, "--stages", stages, "--schedule", schedule, "-o", out, "--no-svg", *options,
         *(["--recompute", "always"] if "again" in how else [])])
    if data.startswith("idx:"):
        command += ["--random-shift", "1"]
    logged = []
    if "resume" in how:
        run([*command, "--steps", str(steps // 2), "--log-json", out / "first.json"])
        logged = losses(out / "first.json")
        command += ["--resume", out / "ckpt"]
    run([*command, "--steps", str(steps), "--log-json", out / "log.json"])
    return logged + losses(out / "log.json"), tensors(sorted((out / "ckpt").glob("step-*"))[-1])


def main():
    stagecc, source, model, steps, cuts, *options = sys.argv[1:]
    data = "idx:" + str(pathlib.Path(source) / "examples/digits/train")
    for i, option in enumerate(options):
        if option == "--data":
            data = options[i + 1]
            del options[i : i + 2]
            break
    with tempfile.TemporaryDirectory() as folder:
        work, reference = pathlib.Path(folder), None
        for cut in cuts.split(","):
            got = train(stagecc, model, options, cut, int(steps), work, data)
            assert len(got[0]) == int(steps), f"{cut}: {len(got[0])} steps were logged"
            reference = reference or got
            for (step, want), (_, have) in zip(reference[0], got[0]):
                assert want == have, f"{cut}: loss bits differ at step {step}: {want} {have}"
            differ = [name for name in reference[1] if reference[1][name] != got[1].get(name)]
            assert not differ and reference[1].keys() == got[1].keys(), f"{cut}: tensors differ: {differ[:5]}"
            print(f"{cut}: {steps} steps, {len(got[1])} tensors, last loss bits {got[0][-1][1]}")


if __name__ == "__main__":
    main()
