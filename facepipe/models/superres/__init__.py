"""Super-resolvers: from a low-resolution image to a restored one at network size."""
