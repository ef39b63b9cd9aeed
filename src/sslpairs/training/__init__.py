"""The loop, optimisers and schedules, the online protocol, receipts."""
