#!/usr/bin/env bash
# What `profile` writes for every example goes back through check and plan with not a byte changed; where the
# kinds of its layers are known without a model, it is one.
set -euo pipefail
stagecc=$1 examples=$2/examples
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trip() { # NAME MODEL OPTIONS...
    local out=$dir/$1
    "$stagecc" profile "${@:2}" --batch 2 --micro-batches 1 --no-svg -o "$out" > /dev/null
    "$stagecc" check "$out/graph.txt" --emit=graph | cmp - "$out/graph.txt"
    "$stagecc" plan "$out/graph.txt" -n 2 --straight_pipeline -o "$out/plan" --no-svg > /dev/null
    sed 's/ -- stage_id=[0-9]*$//' "$out/plan/gpus=2.txt" | cmp - "$out/graph.txt"
    grep -q -- '-- stage_id=1$' "$out/plan/gpus=2.txt"
    "$stagecc" check "$out/plan/gpus=2.txt" --emit=graph | cmp - "$out/plan/gpus=2.txt"
    echo "$1: $(wc -l < "$out/graph.txt") lines"
}
builds() { # NAME
    "$stagecc" build "$dir/$1/graph.txt" --stages 2 --dry-run > /dev/null 2>&1 || { "$stagecc" check "$dir/$1/graph.txt"; exit 1; }
    "$stagecc" build "$dir/$1/graph.txt" --plan "$dir/$1/plan" --dry-run > "$dir/$1/by_plan" 2> /dev/null
    "$stagecc" build "$dir/$1/plan/gpus=2.txt" --dry-run 2> /dev/null | cmp - "$dir/$1/by_plan"
}
trip mlp "$examples/mlp/mlp.c"
trip alexnet "$examples/alexnet/alexnet.c"
trip vgg "$examples/vgg/vgg.c" -D IMAGE=32
trip resnet18 "$examples/resnet/resnet.c" -D DEPTH=18 -D IMAGE=32
trip resnet50 "$examples/resnet/resnet.c" -D DEPTH=50 -D IMAGE=32
trip dense "$examples/dense/dense.c" -D IMAGE=16
trip gpt "$examples/gpt/gpt.c" -D LAYERS=2 -D DIM=64 -D T=32
for name in mlp alexnet vgg resnet18 resnet50 dense; do builds $name; done
# Whatever --schedule auto will choose, both parts of backward are measured.
"$stagecc" profile "$examples/mlp/mlp.c" --schedule auto --virtual-stages 2 --batch 8 --micro-batches 2 --no-svg -o "$dir/auto" > /dev/null
grep -q '"weight_s": [1-9]' "$dir/auto/times.json" || { echo "no times of the gradients of weights"; exit 1; }
# A plan that was made with measured times and kernels is that of its programs when it is read again.
"$stagecc" build "$examples/mlp/mlp.c" --batch 8 --micro-batches 2 --stages 2 --profile "$dir/auto" --no-svg -o "$dir/built" > /dev/null
"$stagecc" run "$dir/built" --data synthetic --steps 1 > /dev/null 2>&1
