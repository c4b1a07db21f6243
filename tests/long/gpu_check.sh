#!/bin/sh
# tools/gpu-check itself, on a simulated device and with nothing.
command -v "${CXX:-c++}" > /dev/null || { echo "no C++ compiler: skipped"; exit 77; }
[ -e "$(dirname "$1")/tests/libcudart_of_tests.a" ] || { echo "stagecc was built without CUDA's headers: skipped"; exit 77; }
exec python3 "$2/tests/long/gpu_check.py" "$1" "$2"
