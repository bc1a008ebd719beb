"""`team serve`: the report of a run as a page that follows it, with the buttons that a person needs.

It reads the run's files, as the report does, and is no part of the run: the run may be killed and resumed under it.
What its buttons do, the commands do too. It listens on this machine alone unless it is told otherwise, and then wants
a token.
"""
