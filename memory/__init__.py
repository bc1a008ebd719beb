"""What do they know? The journal (the truth), the Chroma idea memory, crowding, the idea graph, the literature."""
