"""Every row of reference_plans.json against `stagecc plan`: at most its time (1e-9), no more machines, and no machine
without work; where the reference failed an answer, or exit 3 with a reason.
    reference.py STAGECC PROFILES
"""
import json
import pathlib
import subprocess
import sys
import tempfile

TOLERANCE = 1e-9


def machines(args):
    """All machines of `-n 4 2 ...`."""
    words, product = args.split(), 1
    for word in words[words.index("-n") + 1 :]:
        if not word.isdigit():
            break
        product *= int(word)
    return product


def plan(stagecc, graph, args, out):
    command = [stagecc, "plan", graph, *args.split(), "--cost-model", "pipedream", "--json", "--no-svg", "-o", out]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def wrong(row, done):
    """What is wrong with an answer, or None."""
    failed = "reference_failed" in row
    if done.returncode == 3 and failed:
        return None if done.stderr.strip() else "exit 3 without a reason"
    if done.returncode:
        return f"exit {done.returncode}: {done.stderr.strip()}"
    answer = json.loads(done.stdout)
    used = sum(stage["replicas"] for stage in answer["stages"])
    if used != answer["machines_used"] or used > machines(row["args"]):
        return f"{used} machines in the stages, machines_used {answer['machines_used']}"
    if failed:
        return None
    for key in ("pipeline_time_s", "single_machine_time_s", "data_parallel_time_s"):
        ours, theirs = answer[key], row[key]
        most = theirs * (1 + TOLERANCE)
        if ours > most or (key != "pipeline_time_s" and ours < theirs * (1 - TOLERANCE)):
            return f"{key} is {ours!r}, the reference says {theirs!r}"
    return None


def main():
    stagecc, profiles = sys.argv[1], pathlib.Path(sys.argv[2])
    rows = json.loads((profiles / "reference_plans.json").read_text())
    bad, answered, refused = 0, 0, 0
    with tempfile.TemporaryDirectory() as out:
        for row in rows:
            done = plan(stagecc, profiles / f"{row['model']}.graph.txt", row["args"], out)
            why = wrong(row, done)
            if why:
                print(f"{row['model']} {row['args']}: {why}")
            bad += why is not None
            answered += done.returncode == 0
            refused += done.returncode == 3
    print(f"{len(rows)} rows: {answered} answered, {refused} refused with a reason, {bad} wrong")
    sys.exit(bad > 0 or not rows)


main()
