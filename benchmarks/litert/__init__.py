"""What LiteRT's files cost: our integers, its own float operators, and single operators. Modules say how to run them."""
