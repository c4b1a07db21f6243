#!/bin/sh
# Models of the cuda backend on this processor: losses beside those of ref.
command -v "${CXX:-c++}" > /dev/null || { echo "no C++ compiler: skipped"; exit 77; }
export STAGECC_CUDA=emulated
exec python3 "$2/tests/e2e/cuda.py" "$1" "$2"
