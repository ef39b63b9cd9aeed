"""Output of the command line: full names at every width, in every encoding. Never imports torch."""
