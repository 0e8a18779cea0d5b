"""The faces: HTTP, command line and Python. They write specs and read status, nothing else."""

DISTRIBUTION = "ai4papi"
