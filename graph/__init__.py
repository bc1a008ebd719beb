"""How do they work together? The LangGraph state machine: state, nodes, routing, durability, where trials run."""
