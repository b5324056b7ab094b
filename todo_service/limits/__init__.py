"""Rate limits, the load limit and fair shares per user."""
