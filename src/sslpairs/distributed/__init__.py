"""One run on several processes: who takes part, on which device, and what of a batch each of them has."""
