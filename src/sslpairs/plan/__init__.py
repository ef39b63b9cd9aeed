"""Papers and a scale become runs, evaluations and table cells. Never imports torch."""
