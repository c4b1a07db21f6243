#!/usr/bin/env bash
# The kernels compile for devices without a warning, rows stay in registers, and neighbours are written at once.
# $1: nvcc; $2: the include folder. STAGECC_LONG: for sm_80, too.
set -euo pipefail
cd "$(dirname "$0")"
nvcc=$1
[ -x "$nvcc" ] || { echo "nvcc is not on the PATH: skipped"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for kernels in "$2"/stagecc/*.cuh; do
    grep -q "<stagecc/${kernels##*/}>" cuda_all.cu || { echo "${kernels##*/} is missing in cuda_all.cu"; exit 1; }
done
flags="-std=c++17 -O3 -fmad=false -Werror all-warnings -I$2"
compile() { "$nvcc" $flags -gencode "arch=compute_$1,code=sm_$1" -c cuda_all.cu -o "$out/$1.o" && echo "sm_$1: compiled"; }
[ -z "${STAGECC_LONG:-}" ] || compile 80
compile 90
"$nvcc" $flags -arch=compute_90 -ptx cuda_all.cu -o "$out/all.ptx"
! grep -n '\.local' "$out/all.ptx" || { echo "an array is not in registers"; exit 1; }
! grep -n 'st\.global\.v2\.u16' "$out/all.ptx" || { echo "a pack of bf16 is written in pieces"; exit 1; }
echo "no array in memory, all packs in words"
