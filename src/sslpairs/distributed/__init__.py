"""One run on several processes: the process group, devices, and each process's share of a batch."""
