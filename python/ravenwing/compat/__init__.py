"""Interfaces of other packages, so that a program changes one import."""
