"""The variables that torchrun and srun give the processes that they start, set by hand."""

LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC",
             "OMPI_", "PMIX_", "SLURM_")


def without_launchers(environment):
    return {name: value for name, value in environment.items() if not name.startswith(LAUNCHERS)}


def torchrun(rank, size, port=1, local=None, address="localhost", **more):
    """Of rank `rank` of `size`, which is the `local[0]`th of `local[1]` on its host (else: all are on one)."""
    local_rank, local_size = local or (rank, size)
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(local_rank),
            "LOCAL_WORLD_SIZE": str(local_size), "MASTER_ADDR": address, "MASTER_PORT": str(port), **more}


def srun(rank, size, job=1):
    return {"SLURM_PROCID": str(rank), "SLURM_NTASKS": str(size), "SLURM_LOCALID": str(rank), "SLURM_NNODES": "1",
            "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0"}


def srun_on_nodes(node, local_rank, tasks, nodes, job=1):
    """Of task `local_rank` on node `node`; `tasks` lists how many tasks each node has, `nodes` is Slurm's list."""
    return {**srun(sum(tasks[:node]) + local_rank, sum(tasks), job), "SLURM_LOCALID": str(local_rank),
            "SLURM_NNODES": str(len(tasks)), "SLURM_NODEID": str(node), "SLURM_STEP_NODELIST": nodes,
            "SLURM_STEP_TASKS_PER_NODE": ",".join(map(str, tasks))}
