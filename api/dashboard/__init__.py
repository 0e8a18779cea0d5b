"""The page for people: server-rendered, live by server-sent events, readable without JavaScript.

It calls the use cases that the API's routes call, in this process and as the same user; there is no
second way to write.
"""
