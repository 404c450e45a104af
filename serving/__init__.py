"""How the processes of one service share its work: connections spread over them, a lost one is replaced."""
