"""Beside the way: cross-validation against the leaderboard, as a table, a picture and advice."""
