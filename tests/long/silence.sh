#!/usr/bin/env bash
# Hosts that say nothing: workers and the master in networks of their own (parts/networks.sh), links that are cut and
# slow, processes that stand still. $1: stagecc, $2: sources.
set -euo pipefail
. "$(dirname "$0")/parts/networks.sh"
add_host 4 # the master's
python3 "$2/tests/long/silence.py" "$1" "$work" "${@:3}"
