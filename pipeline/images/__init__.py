"""From files to batches: decode, crop, cache, augment. Pixels depend on YAML and recipe alone."""
