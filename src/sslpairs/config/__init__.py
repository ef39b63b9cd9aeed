"""Typed models of everything under config/."""
