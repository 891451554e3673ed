"""Folds: which rows train and which validate, decided once, written down and shared by all runs."""

from pipeline.folds.assignment import Folds
from pipeline.folds.balance import balance_table
from pipeline.folds.file import load_folds, make_folds
from pipeline.folds.given import install_given, read_given
from pipeline.folds.repeats import Splits, draft_splits, make_splits
from pipeline.folds.shared import draft_shared, duplicates_sentence, load_shared, make_shared
from pipeline.folds.stratify import k_folds, split_parts

__all__ = [
    "Folds",
    "Splits",
    "balance_table",
    "draft_shared",
    "draft_splits",
    "duplicates_sentence",
    "install_given",
    "k_folds",
    "load_folds",
    "load_shared",
    "make_folds",
    "make_shared",
    "make_splits",
    "read_given",
    "split_parts",
]
