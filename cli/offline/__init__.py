"""Commands that run on the machine with the HSM and open the Core themselves."""
