"""Search over steps: several ways on are proposed at each state, and a value function says where to look next."""
