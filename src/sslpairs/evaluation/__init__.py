"""Evaluation protocols of an encoder. One file each, with settings in the file of the same name in ``sslpairs.config.protocols``."""
