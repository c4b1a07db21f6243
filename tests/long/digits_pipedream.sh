#!/bin/sh
# ResNet-18 reads handwritten digits with 1F1B that never flushes and stashed weights, in three stages:
# at least 95 % of the test images.
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT || exit 1
digits=$2/examples/digits
"$1" build "$2/examples/resnet/resnet.c" -n 3 --schedule pipedream --batch 16 --micro-batches 1 -D DEPTH=18 \
    -D IMAGE=16 -D CHANNELS=1 -D CLASSES=10 --optimizer adam --lr 0.001 --lr-schedule cosine -o "$work/out" --no-svg &&
    "$1" run "$work/out" --data "idx:$digits/train" --test-data "idx:$digits/test" --epochs 6 \
        --log-json "$work/log.json" || exit 1
exec python3 -c '
import json, sys
scores = [json.loads(line)["test_accuracy"] for line in open(sys.argv[1]) if "test_accuracy" in line]
print(scores)
sys.exit(scores[-1] < 0.95)' "$work/log.json"
