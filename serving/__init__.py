"""How the processes of one service share its work: spread connections, replace the lost, hear of the end."""
