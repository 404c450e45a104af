"""What a deployment promises its clients, asked of a Bento, a container or whatever answers at an address."""
