"""What the command line shows: whole names at every width, in every encoding. Never imports torch."""
