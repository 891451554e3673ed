"""Blending: weights, pools and stackers, fitted on out-of-fold rows and applied to any rows."""
