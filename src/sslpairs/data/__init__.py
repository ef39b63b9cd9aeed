"""Data sets: from their source to arrays on the device."""
