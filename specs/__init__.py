"""What is wanted: the user's words, their rules and their store.

This package knows nothing of Nomad and nothing of HTTP. `model` holds the values, `userconf` the
form that users fill in, `store` keeps every accepted wish.
"""
