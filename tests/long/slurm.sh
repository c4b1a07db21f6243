#!/usr/bin/env bash
# Three nodes of a Slurm allocation: munged, slurmctld and three slurmd of this test's own, each node in a network
# of its own (parts/networks.sh). Every one runs a stage of ResNet-50; the losses have the bits of the run on one host.
# Then the allocation is cancelled, and nothing stays behind. $1: stagecc, $2: sources.
set -euo pipefail
stagecc=$1 sources=$2
. "$(dirname "$0")/parts/networks.sh"
need nsenter
need munged munge
need slurmctld
need slurmd
need salloc slurm-client

dd if=/dev/urandom of=munge.key bs=1024 count=1 status=none
chmod 400 munge.key
printf '10.77.0.%d n%d\n' 1 1 2 2 3 3 | cat /etc/hosts - > names
mount --bind names /etc/hosts
cat > slurm.conf <<CONFIG
ClusterName=test
SlurmctldHost=$(hostname)(10.77.0.254)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool.%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
TaskProlog=$work/prolog
ReturnToService=2
KillWait=5
NodeName=n[1-3] NodeAddr=10.77.0.[1-3] CPUs=1
PartitionName=all Nodes=n[1-3] Default=YES State=UP
CONFIG
cat > prolog <<PROLOG
#!/bin/sh
echo export XDG_CACHE_HOME=$work/home\${SLURMD_NODENAME#n}
PROLOG
chmod +x prolog
export SLURM_CONF=$work/slurm.conf
mkdir -p state spool.n1 spool.n2 spool.n3
munged --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munged.pid" \
    --log-file="$work/munged.log" --seed-file="$work/munged.seed" --num-threads=1 2> munged.err || { cat munged.err; fail "munged"; }
slurmctld || { cat slurmctld.log; fail "slurmctld"; }
for i in 1 2 3; do
    nsenter --net=/run/netns/h$i slurmd -N n$i || { cat slurmd.n$i.log; fail "slurmd"; }
done
for _ in $(seq 100); do
    [ "$(sinfo -h -o %T -N 2> /dev/null | grep -c idle)" = 3 ] && break
    sleep 0.2
done

build_resnet50 "$stagecc" "$sources"
printf 'n%d\n' 1 2 3 > hosts
allocate() { # salloc within this test's time, whatever the cluster thinks
    timeout 600 salloc --quiet -N 3 "$@"
}
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
