"""Pair strategies, one file each: the five papers."""
