"""From members to an answer: blend, decide, and say honestly what that is worth."""
