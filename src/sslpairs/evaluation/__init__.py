"""Protocols: linear and knn on frozen features; online is copied from the training."""
