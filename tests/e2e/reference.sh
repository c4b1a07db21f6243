#!/usr/bin/env bash
# What PipeDream's optimizer answered for the public profiles, `stagecc plan --cost-model pipedream` answers
# as fast a plan for. $1: stagecc, $2: sources. The profiles are not part of the sources; 77 where they are absent.
set -euo pipefail
profiles=$2/../shared/data/profiles
if [ ! -r "$profiles/reference_plans.json" ]; then
    echo "skipped: no $profiles/reference_plans.json"
    exit 77
fi
exec python3 "$2/tests/e2e/reference.py" "$1" "$profiles"
