"""Tests of the container image with a real engine: `scripts/docker-test`."""
