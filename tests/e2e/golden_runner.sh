#!/usr/bin/env bash
# tests/golden.py itself: files, %s, exit status, diff, --bless. A script stands in for stagecc.
set -euo pipefail
golden=$2/tests/golden.py
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/fake" << 'END'
#!/bin/sh
# fake ARGS... FILE...: shows arguments, directory and files; exits with $1 where that is a number
echo "args: $*"
echo "in $PWD" >&2
for f in "$@"; do [ -f "$f" ] && { echo "== $f"; cat "$f"; }; done
[ -z "${FAKE:-}" ] || echo "$FAKE"
case $1 in [0-9]*) exit "$1" ;; esac
exit 0
END
chmod +x "$dir/fake"
test_file() { cat > "$dir/$1.test"; }
golden() { python3 "$golden" --stagecc "$dir/fake" "$@" > "$dir/out" 2>&1; }
fail() { echo "golden_runner: $1"; cat "$dir/out"; exit 1; }

test_file good << 'END'
# RUN: 3 %s "a b"
# WHY: the body is a file named after the test
# EXIT: 3

first
# a comment of the body

# EXPECT
# args: 3 good.ir a b
# in .
# == good.ir
# first
# # a comment of the body
#
END
golden "$dir/good.test" || fail "a good test fails"
[ ! -s "$dir/out" ] || fail "a good test says something"

test_file files << 'END'
// RUN: %s
// RUN: sub/two.h
// WHY: several files, several commands
// FILE: model.c
int x;
// FILE: sub/two.h
int y;
// EXPECT
// args: model.c
// in .
// == model.c
// int x;
// args: sub/two.h
// in .
// == sub/two.h
// int y;
END
golden "$dir/files.test" "$dir/good.test" || fail "a test of two files fails"

test_file env << 'END'
# RUN: x
# WHY: the environment of the commands; what differs from run to run
# ENV: FAKE=BUILD/a=b (process 77) step 1  99.5 samples/s  12:34 left
# EXPECT
# args: x
# in .
# BUILD/a=b (process *) step 1  * samples/s  * left
END
golden "$dir/env.test" || fail "a test with an environment fails"

sed 's/# first$/# second/' "$dir/good.test" > "$dir/bad.test"
sed -i 's/good\.ir/bad.ir/' "$dir/bad.test"
golden "$dir/bad.test" && fail "another output passes"
grep -qx -- '-second' "$dir/out" && grep -qx -- '+first' "$dir/out" || fail "no diff is shown"
golden --bless "$dir/bad.test" || fail "--bless fails"
sed 's/bad\.ir/good.ir/' "$dir/bad.test" | cmp - "$dir/good.test" || fail "--bless changed more than EXPECT"

sed 's/EXIT: 3/EXIT: 0/' "$dir/good.test" > "$dir/status.test"
golden "$dir/status.test" && fail "a wrong exit status passes"
grep -q "exited with 3, not 0" "$dir/out" || fail "the exit status is not named"
cp "$dir/status.test" "$dir/before"
golden --bless "$dir/status.test" && fail "--bless takes a wrong exit status"
cmp -s "$dir/before" "$dir/status.test" || fail "--bless wrote in spite of a wrong exit status"

sed '/EXPECT/,$d' "$dir/files.test" > "$dir/new.test"
golden "$dir/new.test" && fail "a test without EXPECT passes"
golden --bless "$dir/new.test" && cmp "$dir/new.test" "$dir/files.test" || fail "--bless of a new test"

printf '# WHY: no RUN\nx\n# EXPECT\n' > "$dir/empty.test"
if golden "$dir/empty.test"; then fail "a test without RUN passes"; elif [ $? != 2 ]; then fail "not refused"; fi
