"""Providers of secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastlane.resources.configuration import SecretsOptions
from fastlane.resources.surroundings import Surroundings
from fastlane.secrets.sources.aws import AwsSource
from fastlane.secrets.sources.document import JsonSource
from fastlane.secrets.sources.dotenv import DotenvSource
from fastlane.secrets.sources.environment import EnvironmentSource
from fastlane.secrets.sources.files import FilesSource
from fastlane.secrets.sources.gcp import GcpSource
from fastlane.secrets.sources.source import MissingLibrary, Reading, Source, Unreachable

__all__ = ["MissingLibrary", "Reading", "Source", "Unreachable", "make_source"]


def make_source(
    options: SecretsOptions, surroundings: Surroundings, environment: Mapping[str, str] | None = None
) -> Source:
    """The provider that is configured.

    Where nothing is, ``dev`` and ``--embedded`` read ``.env`` too, if there is one; tests and ``serve`` the environment
    alone.
    """
    environment = os.environ if environment is None else environment
    if options == SecretsOptions() and (surroundings.mode == "dev" or surroundings.embedded):
        return DotenvSource(options, environment, optional=True)
    match options.provider:
        case "env":
            return EnvironmentSource(options, environment)
        case "dotenv":
            return DotenvSource(options, environment)
        case "files":
            return FilesSource(options)
        case "json":
            return JsonSource(options, environment)
        case "aws":
            return AwsSource(options)
        case "gcp":
            return GcpSource(options)
