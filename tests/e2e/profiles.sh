#!/bin/sh
# A small profile becomes three programs that train.
exec python3 "$2/tests/e2e/profiles.py" "$1" "$2" 0 squeezenet1_0:3
