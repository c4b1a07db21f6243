#!/usr/bin/env bash
# Programs on a device whose memory is not the host's, killed and started again. $1: stagecc, $2: sources.
exec python3 "$2/tests/e2e/apart.py" "$1" "$2" "$(dirname "$1")/tests/libapart_device.a" restart.py "$2"
