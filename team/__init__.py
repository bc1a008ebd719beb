"""Who? The roles of the research team, the offline team, and the `team` command."""
