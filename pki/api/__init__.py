"""The door: what stands between HTTP and the rooms. It reads requests, refuses what is not canonical, and answers."""
