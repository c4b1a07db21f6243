#!/bin/sh
# bf16: the same bits however a model is cut, also with weights of several versions; losses as in f32;
# checkpoints of either type go on in the other.
grep -q avx512_bf16 /proc/cpuinfo || exit 77
set -e
python3 "$2/tests/e2e/bf16.py" "$1" "$2"
python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/resnet/resnet.c" 4 1f1b:1,gpipe:2,1f1b:3:resume \
    -D DEPTH=18 -D IMAGE=16 -D CHANNELS=1 -D CLASSES=10 --batch 16 --micro-batches 4 --clip-norm 1 --dtype bf16
python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/gpt/gpt.c" 4 1f1b:1,gpipe:3 \
    -D LAYERS=2 -D DIM=64 -D T=32 --data "text:$2/README.md" --batch 8 --micro-batches 4 --dtype bf16
python3 "$2/tests/e2e/stale.py" "$1" "$2" "$2/tests/torch/cnn.c" 8 pipedream:3:1:256,pipedream-vertical:2:1:5 \
    --lr 0.02 --momentum 0.9 --data synthetic:96 --dtype bf16
