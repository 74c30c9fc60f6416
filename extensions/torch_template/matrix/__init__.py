"""The facts: which wheels PyTorch has published, what they need, and what is on offer here."""
