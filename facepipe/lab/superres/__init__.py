"""Training and measuring super-resolvers."""
