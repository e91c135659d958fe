"""The dialects of the pocket models; their weights lie beside them."""
