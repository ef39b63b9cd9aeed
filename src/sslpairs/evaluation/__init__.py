"""Protocols: what an encoder is worth. A file each, with settings in the file of the same name in ``sslpairs.config.protocols``."""
