# Sourced by tests that need Slurm: three nodes, n1 to n3, with munged, slurmctld and three slurmd of the test's own, each
# node in a network of its own.
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
allocate() { # salloc within this test's time, whatever the cluster thinks
    timeout 600 salloc --quiet -N 3 "$@"
}
