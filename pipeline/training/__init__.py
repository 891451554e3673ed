"""Train one architecture on every fold: a job is a pure function of (recipe, fold, seed)."""
