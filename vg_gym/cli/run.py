"""How every command begins and ends: own modules are found, a user's mistake is one line and not a traceback."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vg_gym.config import load_config
from vg_gym.errors import Interrupted, VGGymError
from vg_gym.interrupts import sigterm_as_ctrl_c
from vg_gym.registry import DatasetSpec, GrounderSpec, load_plugins, refuse_code

T = TypeVar("T")


def run(main: Callable[[], object]) -> None:
    """Call ``main``; a :class:`VGGymError` becomes one line on stderr and exit status 2.

    Ctrl-C and SIGTERM end the command likewise, once it has saved what it can, with exit status 130 and 143. A reader
    that has enough, as in ``vg-gym list clips | head``, ends the command in silence. Modules of the current folder can
    be named (``--methods my_module:factory``): it is searched last.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    with sigterm_as_ctrl_c() as received:
        status = _status(main)
    if status:
        sys.exit(128 + received[0] if received else status)


def _status(main: Callable[[], object]) -> int:
    threading.excepthook = _leave_write_errors_to_the_main_thread
    try:
        main()
        return 0
    except Interrupted as error:
        print(f"vg-gym: {' '.join(str(error).split())}", file=sys.stderr)
        return 130
    except VGGymError as error:
        print(f"vg-gym: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more as it exits
        return 141
    except KeyboardInterrupt:
        print("vg-gym: interrupted", file=sys.stderr)
        return 130


def _leave_write_errors_to_the_main_thread(args: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread, and raises its errors in the main one as well."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


def configured(schema: type[T], arguments: Sequence[str]) -> T:
    """:func:`~vg_gym.config.load_config`, with the plugins that the configuration names loaded."""
    config: Any = load_config(schema, arguments)
    typed: Any = load_config(schema, [argument for argument in arguments if "=" in argument])
    refuse_code_of_files(config, typed, " ".join(argument for argument in arguments if "=" not in argument))
    load_plugins(config.plugins)
    return config


def refuse_code_of_files(config: Any, typed: Any, files: str) -> None:
    """Refuse modules that configuration files name and that nobody typed: what a file says is never imported.

    Args:
        config: all options, those of the files included.
        typed: the options without the files.
        files: the names of the files, for the error.

    Raises:
        VGGymError: the files name a plugin, or a data set or an initial box that is code.
    """
    for name in ("plugins", "dataset", "initial_box"):
        value = getattr(config, name, None) or ""
        if value == (getattr(typed, name, None) or ""):
            continue
        remedy = f"type {name}={value}"
        if name == "plugins":
            raise VGGymError(
                f"{files}: plugins names the code {value!r}, and what a file names is never imported; if you trust "
                f"it, {remedy}"
            )
        kind = DatasetSpec if name == "dataset" else GrounderSpec
        for part in [value] if name == "dataset" else value.split(","):
            refuse_code(kind, part.strip(), f"{files}: {name}", remedy)
