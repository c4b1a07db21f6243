#!/usr/bin/env bash
# Three nodes of a Slurm allocation (parts/slurm.sh). Every one runs a stage of ResNet-50; the losses have the bits of the run on one host.
# Then the allocation is cancelled, and nothing stays behind. $1: stagecc, $2: sources.
set -euo pipefail
stagecc=$1 sources=$2
. "$(dirname "$0")/parts/slurm.sh"

build_resnet50 "$stagecc" "$sources"
printf 'n%d\n' 1 2 3 > hosts
allocate "$stagecc" deploy out --hostfile hosts || { tail slurmctld.log slurmd.n1.log; fail "deploy"; }
allocate "$stagecc" run out --data synthetic:64 --steps 4 --hostfile hosts --log-json apart.json > run.log 2>&1 ||
    { cat run.log; tail slurmctld.log slurmd.n?.log; fail "the run on three nodes"; }
same_bits apart.json

# A host that is not of the allocation
echo n4 >> hosts
status=0
allocate "$stagecc" deploy out --hostfile hosts > more.log 2>&1 || status=$?
[ $status = 4 ] && grep -q 'error: n4: ' more.log || { cat more.log; fail "status $status for a host that is not allocated"; }
echo "slurm: $(grep -m1 error: more.log)"
sed -i '$d' hosts

# An allocation that ends while training runs
allocate "$stagecc" run out --data synthetic:64 --steps 1000000 --hostfile hosts --log-json cut.json > run.log 2>&1 &
pid=$!
for _ in $(seq 600); do
    [ "$(bits cut.json 2> /dev/null | wc -l)" -ge 2 ] && break
    sleep 0.2
done
[ "$(bits cut.json | wc -l)" -ge 2 ] || { cat run.log; fail "no steps"; }
[ "$(pgrep -fc "$work/home.*/stage[012]")" -ge 3 ] || { ps ax; fail "where are the programs?"; }
begin=$(date +%s)
scancel --user=root
status=0
wait $pid || status=$?
[ $status != 0 ] || fail "a cancelled run calls itself done"
for _ in $(seq 300); do
    pgrep -f "$work/home.*/stage[012]" > /dev/null || break
    sleep 0.2
done
! pgrep -af "$work/home.*/stage[012]" || fail "programs outlive the allocation"
echo "slurm: cancelled, status $status, everything gone after $(($(date +%s) - begin)) s"
