"""From results to tables, claims, figures and the provenance page; never imports torch, and imports quickly."""
