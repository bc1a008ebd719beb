"""`team graph`: what was tried, seen as a list, as one trial, as the way to the champion, and as a file.

Everything is read from the journal and the files of trials, without a lock. Nothing here decides or writes to a run.
"""
