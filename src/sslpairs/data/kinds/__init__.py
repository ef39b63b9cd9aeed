"""Kinds of data sets: how each is opened. Their settings are in the file of the same name in ``sslpairs.config.sources``."""
