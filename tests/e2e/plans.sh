#!/usr/bin/env bash
# Every example has a plan: in up to five stages, under both schedules, with optimizer state and clipping; and one on five machines with replicas where they help. The compiler's own checks (graph rules after each pass, streams,
# directions of edges) run along. $1: stagecc, $2: sources.
set -euo pipefail
stagecc=$1 sources=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

failed=0
plan() { # MODEL [OPTION...]
    if ! "$stagecc" plan "$sources/examples/$@" -o "$work/plan" --no-svg >"$work/log" 2>&1; then
        echo "failed: plan $*"
        cat "$work/log"
        failed=1
    fi
}

models=("mlp/mlp.c" "resnet/resnet.c -D DEPTH=18" "resnet/resnet.c -D DEPTH=50" "resnet/resnet.c -D DEPTH=152"
        "vgg/vgg.c" "alexnet/alexnet.c" "gpt/gpt.c" "dense/dense.c")
for model in "${models[@]}"; do
    for stages in 1 2 3 5; do
        # shellcheck disable=SC2086 # a model is a path with options
        plan $model -n $stages --straight_pipeline --schedule 1f1b --backend ref --momentum 0.9
        # shellcheck disable=SC2086
        plan $model -n $stages --straight_pipeline --schedule gpipe --backend ref --optimizer adam --clip-norm 1
    done
    # shellcheck disable=SC2086
    plan $model -n 5 --micro-batches 8 --backend ref --momentum 0.9 --clip-norm 1
done

# 1F1B holds fewer micro-batches in flight than GPipe, so it fits where GPipe does not; and what does
# not fit says so with status 3.
plan resnet/resnet.c -D DEPTH=50 -n 3 --straight_pipeline --backend ref --micro-batches 8 --batch 32 --memory 1000M
status=0
"$stagecc" plan "$sources/examples/resnet/resnet.c" -D DEPTH=50 -n 3 --straight_pipeline --backend ref --micro-batches 8 --batch 32 \
    --schedule gpipe --memory 1000M -o "$work/plan" --no-svg >"$work/log" 2>&1 || status=$?
if [ "$status" != 3 ] || ! grep -q "no cut into 3 stages fits" "$work/log"; then
    echo "GPipe should not fit: status $status"
    cat "$work/log"
    failed=1
fi
exit $failed
