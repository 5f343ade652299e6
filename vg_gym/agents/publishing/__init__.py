"""Agents and episodes for other people: sharing on a hub, films, Minari data sets."""
