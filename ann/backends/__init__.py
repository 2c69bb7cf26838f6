"""What computes: each backend is an array library, a way in and a way out."""
