"""Plan runs, evaluations and table cells from papers and a scale. Never imports torch."""
