"""The training loop, optimisers and schedules, the online protocol, receipts."""
