"""Jobs on a real Ray cluster and on a real Slurm cluster, both on this machine: see scripts/cluster-test."""
