"""Code shared by the Snakefile and the command line: builds, their jobs, and clusters."""
