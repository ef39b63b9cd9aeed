"""``sslpairs bench``: training speed, as ratios measured side by side in one process."""
