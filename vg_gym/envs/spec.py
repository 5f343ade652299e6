"""Specification of an environment, with a clear error for arguments that JSON cannot hold."""

from __future__ import annotations

import json
from dataclasses import fields

from gymnasium.envs.registration import EnvSpec

from vg_gym.errors import NotJSON


class GroundingSpec(EnvSpec):
    """Gymnasium's :class:`EnvSpec`, which refuses JSON that could not rebuild the environment.

    Gymnasium's class writes a list of queries as plain dicts, and fails on samples and encoders without naming them.
    """

    @classmethod
    def of(cls, spec: EnvSpec) -> GroundingSpec:
        """Convert a specification of Gymnasium."""
        return cls(**{field.name: getattr(spec, field.name) for field in fields(spec) if field.init})

    def to_json(self) -> str:
        """Return the specification as JSON.

        Raises:
            NotJSON: the environment was made from objects, e.g. own queries, instead of names.
        """
        for name, value in self.kwargs.items():
            try:
                json.dumps(value)
            except TypeError as error:
                raise NotJSON(
                    f"the spec of {self.id} cannot be JSON: {name}= is an object ({type(value).__name__}), not a name; "
                    f"use names, e.g. dataset='refshapes', or call make() with {name}= again instead of reading a spec"
                ) from error
        return super().to_json()


class HasGroundingSpec:
    """Mixin for environments that turns the ``spec`` set by Gymnasium into a :class:`GroundingSpec`."""

    _spec: GroundingSpec | None = None

    @property
    def spec(self) -> GroundingSpec | None:
        """Specification from which Gymnasium made the environment; None if it was made without Gymnasium."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else GroundingSpec.of(spec)
