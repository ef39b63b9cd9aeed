"""Checkpoints and data beyond this machine: publish them to a DVC remote, restore them, say what a remote really holds.

Files, pointers and remotes are DVC's, so that ``dvc pull`` and ``dvc push`` work on them as well. Its commands are not used
for that: ``dvc add`` writes pointers in place (a kill leaves half of one) and copies every file into its cache; ``dvc push``
believes its memory of what a remote holds, even of a remote that was emptied. Here a pointer is written whole, and only once
the remote itself has said that it holds the object.
"""
