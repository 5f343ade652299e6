"""Parsing of referring expressions into phrases, relations and superlatives."""
