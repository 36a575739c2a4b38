"""All that a board needs: operator contracts with their NumPy reference, engines, and the bundle reader."""
