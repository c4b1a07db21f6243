#!/bin/sh
# Models of examples/: published sizes of all, and two trained in stages as PyTorch trains their twins.
set -e
python3 "$2/tests/e2e/models.py" "$1" "$2" count
python3 "$2/tests/e2e/models.py" "$1" "$2" train squeezenet1_1 vit
