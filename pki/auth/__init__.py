"""Auth methods: one file each; a login ends in a token."""
