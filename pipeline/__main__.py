"""`python -m pipeline VERB`: what every target of the Makefile calls."""

from pipeline.cli import main

main()
