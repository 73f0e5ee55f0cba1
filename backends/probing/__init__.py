"""How a server is, asked by the cheapest questions that its family answers."""
