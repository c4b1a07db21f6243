#!/usr/bin/env bash
# A profile taken in bf16 has the nodes, edges and sizes of one in f32 (only times differ), and is a model.
grep -q avx512_bf16 /proc/cpuinfo || exit 77
set -euo pipefail
stagecc=$1 examples=$2/examples
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
same() { # NAME MODEL OPTIONS...
    local type
    for type in f32 bf16; do
        "$stagecc" profile "${@:2}" --dtype $type --batch 2 --micro-batches 1 --no-svg -o "$dir/$1-$type" > /dev/null
        sed 's/_compute_time=[^,]*/_compute_time=/g' "$dir/$1-$type/graph.txt" > "$dir/$1-$type.graph"
    done
    diff "$dir/$1-f32.graph" "$dir/$1-bf16.graph"
    echo "$1: $(wc -l < "$dir/$1-bf16.graph") lines"
}
same gpt "$examples/gpt/gpt.c" -D LAYERS=1 -D DIM=32 -D HEADS=2 -D T=16
same mlp "$examples/mlp/mlp.c"
"$stagecc" build "$dir/mlp-bf16/graph.txt" --stages 2 --dtype bf16 --dry-run > /dev/null
