"""What is trained: every architecture, its first weights, its head, its outputs."""
