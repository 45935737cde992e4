"""Answers of the API as tables for people, by topic."""
