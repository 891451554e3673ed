"""What the rooms hand to each other on disk: atomic files, locks, hashes, predictions."""
