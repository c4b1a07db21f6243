#!/bin/sh
# A job whose stages have several backends, on this processor.
command -v "${CXX:-c++}" > /dev/null || { echo "no C++ compiler: skipped"; exit 77; }
exec python3 "$2/tests/e2e/mixed.py" "$1" "$2"
