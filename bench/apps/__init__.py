"""One application a peer, each written as its own documentation would write it, with the same eight answers."""
