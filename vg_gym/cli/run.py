"""Start and end of every command: the user's modules are importable, and a user's error is one line, no traceback."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from vg_gym.cli.option_docs import training_help
from vg_gym.config import is_pair, load_config
from vg_gym.errors import DEBUG, Interrupted, VGGymError, is_debugging
from vg_gym.fitting.resuming import resumed
from vg_gym.registry import DatasetSpec, GrounderSpec, dataset_spec, load_plugins, refuse_code
from vg_gym.runtime.hub_log import hide_failed_requests
from vg_gym.runtime.interrupts import sigterm_as_ctrl_c
from vg_gym.storage.run_folder import CONFIG

T = TypeVar("T")


def run(main: Callable[[], object]) -> None:
    """Call ``main``; a :class:`VGGymError` becomes one line on stderr and exit status 2, with ``--debug`` a traceback.

    Ctrl-C and SIGTERM also end the command with one line, after it has saved its state, with exit status 130 and 143.
    A closed pipe, as in ``vg-gym list clips | head``, ends the command silently. Modules of the current folder can be
    named (``--methods my_module:factory``); this folder is searched last.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    sys.argv[1:] = without_debug(sys.argv[1:])
    hide_failed_requests()
    with sigterm_as_ctrl_c() as received:
        status = _status(main)
    if status:
        sys.exit(128 + received[0] if received else status)


def without_debug(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command without ``--debug``, which turns on tracebacks for this process."""
    if "--debug" in arguments:
        os.environ[DEBUG] = "1"
    return [argument for argument in arguments if argument != "--debug"]


def _status(main: Callable[[], object]) -> int:
    threading.excepthook = _leave_write_errors_to_the_main_thread
    try:
        main()
        return 0
    except Interrupted as error:
        print(f"vg-gym: {' '.join(str(error).split())}", file=sys.stderr)
        return 130
    except VGGymError as error:
        if is_debugging():
            traceback.print_exc()
        print(f"vg-gym: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python complains again at exit
        return 141
    except KeyboardInterrupt:
        print("vg-gym: interrupted", file=sys.stderr)
        return 130


def _leave_write_errors_to_the_main_thread(args: threading.ExceptHookArgs) -> None:
    """Ignore write errors of a thread: TensorBoard writes in one, and raises its errors in the main thread as well."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


def configured(schema: type[T], arguments: Sequence[str]) -> T:
    """Return the options of a training, and load the plugins that they name.

    Args:
        schema: dataclass of options.
        arguments: see :func:`~vg_gym.config.load_config`; with ``resume=true`` the options of the run come first.
            ``--help`` prints all options.

    Raises:
        VGGymError: see :func:`~vg_gym.config.load_config`; also if the run to resume does not exist, or a file names
            code.
        SystemExit: ``--help`` is among the arguments.
    """
    if {"-h", "--help"} & set(arguments):
        print(training_help(schema))
        sys.exit(0)
    _refuse_flags(arguments)
    config: Any = load_config(schema, arguments)
    pairs = [argument for argument in arguments if is_pair(argument)]
    files = [argument for argument in arguments if not is_pair(argument)]
    if config.resume:
        config = resumed(schema, arguments)  # type: ignore[type-var]
        files = [str(config.folder() / CONFIG)]
    refuse_code_of_files(config, load_config(schema, pairs), " ".join(files))
    load_plugins(config.plugins)
    return config if config.resume else without_options_of_another_dataset(config, schema, files, pairs)


def _refuse_flags(arguments: Sequence[str]) -> None:
    """Raise an error for a flag, since options of trainings are ``NAME=VALUE``."""
    for at, argument in enumerate(arguments):
        if argument.startswith("--"):
            name, equals, value = argument[2:].replace("-", "_").partition("=")
            typed = f"{argument} {arguments[at + 1]}" if not equals and at + 1 < len(arguments) else argument
            value = value if equals else typed.partition(" ")[2] or "VALUE"
            raise VGGymError(f"{typed}: options of trainings have no dashes; type {name}={value}")


def without_options_of_another_dataset(config: Any, schema: type, files: Sequence[str], pairs: Sequence[str]) -> Any:
    """Remove the ``dataset_options`` of configuration files for another kind of data set, and print a note.

    Args:
        config: all options.
        schema: dataclass of options.
        files: configuration files among the arguments.
        pairs: ``key=value`` pairs among the arguments.
    """
    of_files: Any = load_config(schema, files)
    if not of_files.dataset_options:
        return config
    theirs, name = of_files.completed().dataset, config.completed().dataset
    if dataset_spec(theirs).factory == dataset_spec(name).factory:
        return config
    typed: Any = load_config(schema, pairs)
    dropped = [key for key in of_files.dataset_options if key not in typed.dataset_options]
    if dropped:
        are = "is" if len(dropped) == 1 else "are"
        print(f"{' '.join(files)}: dataset_options {', '.join(dropped)} of {theirs} {are} left out for {name}")
    return replace(config, dataset_options=typed.dataset_options)


def refuse_code_of_files(config: Any, typed: Any, files: str) -> None:
    """Refuse code that only configuration files name, since modules named by a file are never imported.

    Args:
        config: all options, including those of the files.
        typed: options without the files.
        files: names of the files, for the error.

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
                f"{files}: plugins names the code {value!r}, and code that a file names is never imported; if you "
                f"trust it, {remedy}"
            )
        kind = DatasetSpec if name == "dataset" else GrounderSpec
        for part in [value] if name == "dataset" else value.split(","):
            refuse_code(kind, part.strip(), f"{files}: {name}", remedy)
