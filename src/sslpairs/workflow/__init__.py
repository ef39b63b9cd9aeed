"""What the Snakefile and the command line share: builds, their jobs, and clusters."""
