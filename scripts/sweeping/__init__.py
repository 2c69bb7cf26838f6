"""The parts of scripts/sweep.py: a search for good hyperparameters, on one machine or many."""

STUDY = "digits"  # the name of a study, unless --study gives another
