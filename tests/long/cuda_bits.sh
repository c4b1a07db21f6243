#!/bin/sh
# Models of the cuda backend on this processor: the same bits however they are cut. GPT's attention is one op.
command -v "${CXX:-c++}" > /dev/null || { echo "no C++ compiler: skipped"; exit 77; }
export STAGECC_CUDA=emulated
python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/mlp/mlp.c" 6 \
    1f1b:1,gpipe:2,zb-h1:3,1f1b:3:resume,1f1b:2:again --backend cuda --batch 8 --micro-batches 2 --momentum 0.9 --clip-norm 1 --lr 0.1 &&
exec python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/gpt/gpt.c" 4 1f1b:1,gpipe:2,zb-h1:3:again --backend cuda --dtype bf16 \
    -D LAYERS=2 -D DIM=32 -D HEADS=2 -D T=16 --batch 4 --micro-batches 2 --optimizer adamw --data synthetic:64
