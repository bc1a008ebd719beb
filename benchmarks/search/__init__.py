"""The search benchmark: real trials recorded once, a world made of them, and strategies that search in it."""
