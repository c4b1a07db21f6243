#!/usr/bin/env bash
# Programs on a device whose memory is not the host's, killed under a master: what it costs, and that it changes no bit. $1: stagecc, $2: sources.
exec python3 "$2/tests/e2e/apart.py" "$1" "$2" "$(dirname "$1")/tests/libapart_device.a" kills.py 1f1b
