"""HTTP: what users and the command line talk to.

One aiohttp low-level server (no Application, no router of aiohttp's: per request they cost more than Relay's own work), one
route table that also makes the OpenAPI document, and one way in (`app.Api`): gate, route, token, handler, problem.
Handlers read a request, call `relay.store`, and answer; they decide nothing about jobs that the database doesn't guard.
"""
