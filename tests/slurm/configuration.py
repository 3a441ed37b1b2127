"""What the throw-away SLURM is told in /etc/slurm."""

import socket
from pathlib import Path

ETC = Path("/etc/slurm")
NODES = ("n1", "n2")
PORTS = {"slurmctld": 16817, "slurmdbd": 16819, "mariadbd": 13306, "n1": 16901, "n2": 16902}
CONFIGURATION = ("slurm.conf", "gres.conf", "slurmdbd.conf")


def write_configuration(folder: Path, *, accounting: bool) -> None:
    """Write /etc/slurm: nodes that claim more than the machine has, each with one GPU by name only."""
    host = socket.gethostname().split(".")[0]
    ETC.mkdir(exist_ok=True)
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={PORTS[node]} CPUs=8 RealMemory=64000 Gres=gpu:1"
        for node in NODES
    )
    storage = "none"
    if accounting:
        storage = f"slurmdbd\nAccountingStorageHost=127.0.0.1\nAccountingStoragePort={PORTS['slurmdbd']}"
        # What is a password elsewhere is munge's socket here.
        storage += f"\nAccountingStoragePass={folder}/munge.socket"
    (ETC / "slurm.conf").write_text(
        SLURM_CONF.format(folder=folder, host=host, port=PORTS["slurmctld"], storage=storage, nodes=nodes)
    )
    (ETC / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu File=/dev/null\n")
    if accounting:
        (ETC / "slurmdbd.conf").touch(mode=0o600)
        (ETC / "slurmdbd.conf").write_text(
            SLURMDBD_CONF.format(folder=folder, host=host, port=PORTS["slurmdbd"], database=PORTS["mariadbd"])
        )


# Memory is watched by polling, since containers lend no cgroups: a job above its request is killed within seconds.
SLURM_CONF = """\
ClusterName=tta
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/{storage}
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
SlurmdTimeout=10
KillWait=3
MinJobAge=300
JobRequeue=1
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""
