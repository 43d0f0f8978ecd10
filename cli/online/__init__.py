"""Commands that speak HTTP to a service, and nothing else: they import neither rooms nor the cellar."""
