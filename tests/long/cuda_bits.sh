#!/bin/sh
# The MLP of the cuda backend on this processor: the same bits however it is cut.
command -v "${CXX:-c++}" > /dev/null || { echo "no C++ compiler: skipped"; exit 77; }
export STAGECC_CUDA=emulated
exec python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/mlp/mlp.c" 6 \
    1f1b:1,gpipe:2,zb-h1:3,1f1b:3:resume,1f1b:2:again --backend cuda --batch 8 --micro-batches 2 --momentum 0.9 --clip-norm 1 --lr 0.1
