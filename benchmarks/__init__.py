"""Measurements behind every claim: commands write records, and pages are made from records alone."""
