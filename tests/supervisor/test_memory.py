import os
import stat
import tempfile

import pytest

from fastlane.supervisor.memory import MemoryFile


@pytest.mark.parametrize("has_memfd", [True, False])
def test_what_is_written_can_be_read_by_any_number_of_readers(monkeypatch, tmp_path, has_memfd):
    if not has_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = MemoryFile("test")
    assert file.read() == b""
    file.write(b"x" * (3 << 20))
    assert file.read() == file.read() == b"x" * (3 << 20)
    file.write(b"shorter")
    assert file.read() == b"shorter"
    assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert not os.get_inheritable(file.fileno())
    assert list(tmp_path.iterdir()) == []
    file.close()
