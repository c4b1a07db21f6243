#!/bin/sh
# Every op of the cuda backend, on this processor, in f32 and in bf16, against ref in double; optimizers.
command -v "${CXX:-c++}" > /dev/null || { echo "no C++ compiler: skipped"; exit 77; }
export STAGECC_CUDA=emulated
python3 "$2/tests/ops/ops.py" "$1" --backend cuda --trust-ref && exec python3 "$2/tests/ops/ops.py" "$1" --backend cuda --bf16
