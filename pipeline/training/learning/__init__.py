"""How it learns: losses, sampling, optimisers, schedules, averages, the inner loops."""
