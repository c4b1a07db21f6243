#!/usr/bin/env bash
# stagecc launch: workers on hosts that are all this machine, two under its own names, others behind a script in
# ssh's or srun's place. The bits of a run that nobody disturbs, whoever dies; nothing stays behind. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/launch.py" "$@"
