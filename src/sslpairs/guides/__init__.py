"""Frozen encoders that give SPPS and GPS their similarity."""
