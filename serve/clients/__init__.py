"""What a client sends and understands: protocols, and the transports that carry them."""
