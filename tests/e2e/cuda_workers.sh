#!/bin/sh
# A master and workers whose devices are CUDA's, on this processor.
command -v "${CXX:-c++}" > /dev/null || { echo "no C++ compiler: skipped"; exit 77; }
export STAGECC_CUDA=emulated
exec python3 "$2/tests/e2e/cuda_workers.py" "$1" "$2"
