"""One continuous flow, written for ours and for each peer, with the same weights and rows."""
