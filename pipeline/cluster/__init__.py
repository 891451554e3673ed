"""Who does the jobs: this machine's cores and GPUs, a Ray cluster, or SLURM; docs/engines.md."""
