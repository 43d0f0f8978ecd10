"""Every signature the house makes: reserved before the token signs, recorded after, reconciled after a crash."""
