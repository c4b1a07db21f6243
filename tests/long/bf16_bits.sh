#!/bin/sh
# A CNN and a GPT in bf16: the same bits in every cut and synchronous schedule, computed again, with tied weights and with
# int8 between stages; with replicas those of one process that adds up in the same groups.
grep -q avx512_bf16 /proc/cpuinfo || exit 77
set -e
resnet() { python3 "$2/tests/e2e/$3.py" "$1" "$2" "$2/examples/resnet/resnet.c" "$4" "$5" -D DEPTH=18 -D IMAGE=16 -D CHANNELS=1 -D CLASSES=10 \
    --batch 16 --micro-batches 4 --lr 0.01 --dtype bf16 --transfer "$6" --clip-norm "$7"; }
gpt() { python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/gpt/gpt.c" 4 "$3" -D LAYERS="$4" -D DIM=64 -D T=32 -D TIED="$5" \
    --data "text:$2/README.md" --batch 8 --micro-batches 4 --dtype bf16 --transfer "$6"; }
resnet "$1" "$2" same_bits 4 1f1b:1,zb-h1:3,interleaved/2:2,1f1b:2:again exact 1
resnet "$1" "$2" same_bits 4 1f1b:2,zb-h1:2 int8 0
resnet "$1" "$2" replicas 3 0:2,1:1 exact 0
gpt "$1" "$2" 1f1b:1,zb-h1:3,interleaved/2:2,gpipe:2:again 4 0 exact
gpt "$1" "$2" 1f1b:2,zb-h1:2 4 0 int8
gpt "$1" "$2" 1f1b:1,1f1b:3,zb-h1:2 2 1 exact
