"""Checkpoints and data beyond this machine: publish them to a DVC remote, restore them, report what a remote really holds.

Files, pointers and remotes are in DVC's format, so ``dvc pull`` and ``dvc push`` also work on them. DVC's own commands are not
used for that: ``dvc add`` writes pointers in place (a kill leaves half of one) and copies every file into its cache; ``dvc push``
trusts its memory of what a remote holds, even of a remote that was emptied. Here a pointer is written atomically, and only after
the remote itself has confirmed that it holds the object.
"""
