"""Files that cheat or attack, and what stops each of them."""
