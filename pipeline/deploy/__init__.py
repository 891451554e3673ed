"""A trained run or ensemble at work: answers for pictures that are in no table."""
