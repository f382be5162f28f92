"""Certificates made for a test: an authority, and folders with what it signed."""

from pathlib import Path

import trustme


class Authority:
    """Signs certificates and writes them as the folders that Ponder reads."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def folder(self, path: Path, *names: str, trusts: "Authority | None" = None) -> str:
        """tls.crt and tls.key for these names, and in ca.crt the authority that is trusted. Written
        again, it replaces them.
        """
        path.mkdir(exist_ok=True)
        issued = self._ca.issue_cert(*(names or ("localhost", "127.0.0.1")))
        issued.private_key_pem.write_to_path(path / "tls.key")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        (path / "tls.crt").write_bytes(chain)
        (trusts or self)._ca.cert_pem.write_to_path(path / "ca.crt")
        return str(path)
