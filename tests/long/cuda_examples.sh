#!/bin/sh
# The models of examples/ as programs for CUDA devices, each within a minute.
command -v "${NVCC:-nvcc}" > /dev/null || [ -x /usr/local/cuda/bin/nvcc ] || { echo "nvcc is not on the PATH: skipped"; exit 77; }
[ -e "$(dirname "$1")/libstagecc-rt-cuda.a" ] || { echo "stagecc was built without CUDA's headers: skipped"; exit 77; }
exec python3 "$2/tests/long/cuda_examples.py" "$1" "$2"
