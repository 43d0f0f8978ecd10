"""Who acts: client tokens now; entities, aliases and groups when the API door needs them."""
