"""Who judges? Crystals, splits, the budgeted trial, scoring, noise and published baselines.

Nothing is imported here: a trial imports only `evaluation_locked.client`, which needs numpy and nothing more.
"""
