"""The gateway's pages: what flies, waits and is broken, for people who are logged in.

A page is made of regions. Each is rendered by the server, once for everybody who looks at the same, and sent again by
server-sent events when it changed. Whoever is a viewer sees; whoever is an operator also acts, through the functions
that the command line uses, and every act is written into the audit.
"""
