"""The authority and the vault: rooms that hold the meaning and know no HTTP, and `api`, the door beside them."""
