"""How the team reaches language models: settings, one bounded exchange, structured answers, and what they cost."""
