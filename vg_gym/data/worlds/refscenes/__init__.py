"""RefScenes: three-dimensional scenes of people, animals and things, with the expressions of people."""
