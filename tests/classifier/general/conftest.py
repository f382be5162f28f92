from pathlib import Path

import pytest

from tests.classifier.general.collection import write_collection


@pytest.fixture(scope="session")
def collection_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up prompts in the layout of the collected ones."""
    directory = tmp_path_factory.mktemp("collection")
    write_collection(directory)
    return directory
