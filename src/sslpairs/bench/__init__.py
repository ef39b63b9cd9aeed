"""``sslpairs bench``: how fast trainings are, as ratios of things measured side by side in one process."""
