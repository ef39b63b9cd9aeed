"""sslpairs: regenerate the tables and figures of five papers on pairs in self-supervised learning."""

__version__ = "0.1.0"
