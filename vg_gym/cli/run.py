"""How every command ends: a user's mistake is one line on stderr, not a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from vg_gym.errors import VGGymError


def run(main: Callable[[], object]) -> None:
    """Call ``main``; a :class:`VGGymError` becomes one line on stderr and exit status 2, Ctrl-C exit status 130.

    A reader that has enough, as in ``vg-gym list clips | head``, ends the command in silence.
    """
    try:
        main()
    except VGGymError as error:
        print(f"vg-gym: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more as it exits
        sys.exit(141)
    except KeyboardInterrupt:
        print("vg-gym: interrupted", file=sys.stderr)
        sys.exit(130)
