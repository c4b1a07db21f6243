#!/usr/bin/env bash
# An installed stagecc works from its prefix; what it generates compiles with pkg-config and with the CMake
# package, and a program says so where the instruction set is missing.
set -euo pipefail
stagecc=$1 source=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix=$dir/prefix
cmake --install "$(dirname "$stagecc")" --prefix "$prefix" > /dev/null
"$prefix/bin/stagecc" --version
cd "$dir"
"$prefix/bin/stagecc" build "$source/examples/mlp/mlp.c" --no-svg -o out > /dev/null
grep -q -- "-I$prefix/include " out/stage0.c
out/stage0 --data synthetic --steps 2 > first.log 2>&1

# by hand, with pkg-config
export PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name stagecc.pc)")
march=$(grep -o -- '-march=[a-z0-9-]*' out/stage0.c | head -1)
cc -std=gnu17 -O2 -ffp-contract=off "$march" out/stage0.c $(pkg-config --cflags --libs stagecc) -o by_hand
./by_hand --data synthetic --steps 2 > second.log 2>&1
cmp <(grep -o 'loss [0-9.]*' first.log) <(grep -o 'loss [0-9.]*' second.log)

# with the CMake package
mkdir cmake
cat > cmake/CMakeLists.txt <<END
cmake_minimum_required(VERSION 3.22)
project(use C)
find_package(stagecc REQUIRED)
add_executable(stage0 $dir/out/stage0.c)
target_compile_options(stage0 PRIVATE -std=gnu17 -ffp-contract=off $march)
target_link_libraries(stage0 PRIVATE stagecc::runtime)
END
cmake -S cmake -B cmake/build -DCMAKE_PREFIX_PATH="$prefix" > /dev/null
cmake --build cmake/build > /dev/null
cmake/build/stage0 --data synthetic --steps 1 > third.log 2>&1

# the service of a master, as systemd reads it
unit=$prefix/lib/systemd/system/stagecc-master@.service
grep -q '^ExecStart=/.*/bin/stagecc master ' "$unit"
if command -v systemd-analyze > /dev/null; then
    sed "s,^ExecStart=[^ ]*,ExecStart=$prefix/bin/stagecc," "$unit" > stagecc-master@job.service
    systemd-analyze verify ./stagecc-master@job.service > verify.log 2>&1 || { cat verify.log; exit 1; }
    [ ! -s verify.log ] || { cat verify.log; exit 1; }
fi
echo "installed: by itself, by pkg-config, by CMake; the service of a master"
