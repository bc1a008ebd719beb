"""The team that thinks: the four roles played by language models, with the offline team behind each of them."""
