"""`python -m hive` is `hive`; with a socket of its supervisor's, it is the fork server."""

import os

forks = os.environ.pop("HIVE_FORK_SOCKET", None)
if forks is None:
    from hive.cli import main
else:
    from functools import partial

    from hive.forkserver import serve

    main = partial(serve, int(forks))
main()
