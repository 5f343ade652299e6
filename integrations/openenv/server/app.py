"""Application of the server: ``uvicorn server.app:app``, or the command ``server``."""

import argparse
import json
import os

from openenv.core.env_server.http_server import create_app

if __package__ == "server":  # started in the folder of the package, as in openenv.yaml
    from models import GroundingAction, GroundingObservation
    from server.grounding_environment import GroundingEnvironment
else:
    from ..models import GroundingAction, GroundingObservation
    from .grounding_environment import GroundingEnvironment

OPTIONS, SESSIONS = "VG_GYM_OPTIONS", "VG_GYM_SESSIONS"
"""Environment variables of the options, as JSON, and of the largest number of clients."""


def make_environment() -> GroundingEnvironment:
    """Return the environment of a new client."""
    return GroundingEnvironment(**json.loads(os.environ.get(OPTIONS, "{}")))


app = create_app(
    make_environment,
    GroundingAction,
    GroundingObservation,
    env_name="vg_gym_openenv",
    max_concurrent_envs=int(os.environ.get(SESSIONS, "8")),
)


def main() -> None:
    """Serve on a host and port of the command line."""
    import uvicorn

    parser = argparse.ArgumentParser(description="Serve visual grounding for OpenEnv.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for other machines")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    uvicorn.run(app, host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
