"""How the processes of one service share the work: membership, coordination, listener, supervisor."""
