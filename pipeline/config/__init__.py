"""Competitions and recipes as frozen, checked objects, and where everything lies on disk."""
