#!/usr/bin/env bash
# `stagecc launch --slurm` on three nodes (parts/slurm.sh): a batch job with a master on its first node and a worker on
# each has the losses of one program. One that is told that its time is over ends in good order and saves; of one that
# is cancelled nothing stays. $1: stagecc, $2: sources.
set -euo pipefail
stagecc=$1 sources=$2
. "$(dirname "$0")/parts/slurm.sh"
need sbatch slurm-client

cat > model.c <<'MODEL'
#include <stagecc/model.h>

MODEL(chain)
{
    Tensor x = flatten(input("image", F32, 1, 8, 8));
    for (int i = 0; i < 7; i++)
        x = linear(x, 64);
    loss(cross_entropy(linear(x, 10), target("label", I32)));
}
MODEL
data=idx:$sources/examples/digits/train
"$stagecc" build model.c --stages 1 --no-svg -o alone > build.log 2>&1 || { cat build.log; fail "build"; }
"$stagecc" run alone --data "$data" --steps 40 --log-json alone.json > run.log 2>&1 || { cat run.log; fail "the run in one program"; }

launch() { # NAME STEPS: into $id
    "$stagecc" launch model.c --data "$data" --steps "$2" --rehearse 100 --journal "$1" --log-json "$1.json" --checkpoint "$1.saved" \
        --slurm --nodes 3 -- --time=30:00 > submit.log 2>&1 || { cat submit.log; fail "sbatch"; }
    id=$(grep -o 'batch job [0-9]*' submit.log | grep -o '[0-9]*')
    log=$1/launch-$id.log
}
state() {
    scontrol show job "$id" | grep -o 'JobState=[A-Z]*'
}
until_it() { # SECONDS WHAT COMMAND...
    for _ in $(seq $(($1 * 5))); do
        ! "${@:3}" || return 0
        sleep 0.2
    done
    cat "$log" slurmctld.log
    fail "$2: not within $1 s"
}
has_ended() {
    case $(state) in *RUNNING | *PENDING | *COMPLETING | *CONFIGURING) false ;; esac
}
has_steps() { # NAME
    [ "$(bits "$1.json" 2> /dev/null | wc -l)" -ge 3 ]
}
nothing_left() {
    ! pgrep -f "$work/home.*/(stage[012]|stagecc)|stagecc launch model.c" > /dev/null
}

launch whole 40
until_it 300 "the end of the job" has_ended
[ "$(state)" = JobState=COMPLETED ] || { cat "$log"; fail "$(state)"; }
[ "$(bits whole.json | wc -l)" = 40 ] || { cat "$log"; fail "$(bits whole.json | wc -l) losses"; }
diff <(bits alone.json) <(bits whole.json) || fail "other losses on three nodes"
grep -q ': 3 stages on ' "$log" || { cat "$log"; fail "not all nodes took part"; }
until_it 20 "everything gone" nothing_left
echo "$name: three nodes, the same bits"

launch stopped 1000000
until_it 300 "some steps" has_steps stopped
scancel --batch --signal=TERM "$id"
until_it 60 "the end of the job" has_ended
step=$(bits stopped.json | wc -l)
[ -f "stopped.saved/step-$(printf %06d "$step")/manifest.json" ] || { cat "$log"; ls stopped.saved; fail "step $step is not saved"; }
until_it 20 "everything gone" nothing_left
echo "$name: told to end, saved behind step $step"

launch cancelled 1000000
until_it 300 "some steps" has_steps cancelled
scancel "$id"
until_it 60 "everything gone" nothing_left
echo "$name: cancelled, everything gone"
