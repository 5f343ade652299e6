"""The specification of an environment, which says what of it cannot be written to JSON."""

from __future__ import annotations

import json
from dataclasses import fields

from gymnasium.envs.registration import EnvSpec

from vg_gym.errors import NotJSON


class GroundingSpec(EnvSpec):
    """Gymnasium's :class:`EnvSpec`; its JSON is refused where an environment could not be made of it again.

    Gymnasium's own writes a list of queries as plain dicts, and fails without a name on samples and encoders.
    """

    @classmethod
    def of(cls, spec: EnvSpec) -> GroundingSpec:
        """The same specification."""
        return cls(**{field.name: getattr(spec, field.name) for field in fields(spec) if field.init})

    def to_json(self) -> str:
        """The specification as JSON.

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
    """For environments: what Gymnasium sets as ``spec`` becomes a :class:`GroundingSpec`."""

    _spec: GroundingSpec | None = None

    @property
    def spec(self) -> GroundingSpec | None:
        """How the environment was made; None where not by Gymnasium."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else GroundingSpec.of(spec)
