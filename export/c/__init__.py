"""An integer model as C99: generated, readable, without memory allocation and without floating point."""
