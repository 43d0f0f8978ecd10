"""How a secrets engine or an auth method declares what it does, knowing no HTTP: one declaration an operation.

From it come routing, decoding, validation, OpenAPI, path-help and the reference page.
"""
