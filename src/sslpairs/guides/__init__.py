"""Frozen encoders from which SPPS and GPS take similarity."""
