"""Intake: the one door into the log. Reads, decides, appends, answers."""
