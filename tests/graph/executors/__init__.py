"""Executors; the suite that all of them run explains its failures as any test does."""

import pytest

pytest.register_assert_rewrite("tests.graph.executors.conformance")
