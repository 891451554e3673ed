"""Folds: which rows train and which validate, decided once, written down and shared by all runs."""

from pipeline.folds.balance import balance_table
from pipeline.folds.file import Folds, load_folds, make_folds
from pipeline.folds.shared import load_shared, make_shared
from pipeline.folds.stratify import k_folds, split_parts

__all__ = [
    "Folds",
    "balance_table",
    "k_folds",
    "load_folds",
    "load_shared",
    "make_folds",
    "make_shared",
    "split_parts",
]
