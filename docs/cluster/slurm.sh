#!/usr/bin/env bash
# A recipe on Slurm: a Ray head on the first node, a worker on each other one. `sbatch docs/cluster/slurm.sh RECIPE [--field value ...]`
#SBATCH --job-name=abaw
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=24
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
source "${ABAW_VENV:-$HOME/venv}/bin/activate"
RUNS="${ABAW_RUNS:?set ABAW_RUNS to a folder that all nodes see}"

# One token for this job: other users of the machines are refused.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN="$(python -c 'import secrets; print(secrets.token_hex(32))')"
export RAY_AUTH_TOKEN

HEAD="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
PORT="$((20000 + SLURM_JOB_ID % 20000))"
# Nodes of this job alone are started and ended: `ray stop` would end those of other jobs too.
srun --nodes=1 --ntasks=1 --nodelist="$HEAD" \
    ray start --head --port="$PORT" --block --disable-usage-stats --num-cpus="$SLURM_CPUS_PER_TASK" &
sleep 15
if ((SLURM_NNODES > 1)); then
    srun --nodes="$((SLURM_NNODES - 1))" --ntasks="$((SLURM_NNODES - 1))" --exclude="$HEAD" \
        ray start --address="$HEAD:$PORT" --block --disable-usage-stats --num-cpus="$SLURM_CPUS_PER_TASK" &
fi
# The other nodes come while it starts.
python -m experiments run "$@" --runs "$RUNS" --address "$HEAD:$PORT" --resources.wait True
