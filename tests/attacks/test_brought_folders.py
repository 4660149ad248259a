"""Who brings a folder of documents, or a pack, has nothing of the machine published that reads it."""

from __future__ import annotations

from pathlib import Path

from tidegate.brokers.servers.credentials import load_credential
from tidegate.services.packs.load import load_pack
from tidegate.services.packs.new import pack_of_documents


def test_no_document_of_a_folder_that_somebody_brings_is_a_key_or_a_database_of_the_machine(tmp_path: Path) -> None:
    folder, secret = tmp_path / "mine", load_credential(tmp_path / "keys" / "site1.operator.nk")
    folder.mkdir()
    (folder / "good.txt").write_text("Good words.")
    (tmp_path / "vault.sqlite").write_bytes(b"SQLite format 3")
    (folder / "faq.md").symlink_to(secret.seed_file)
    (folder / "prices.txt").symlink_to(tmp_path / "vault.sqlite")
    (folder / "twice.html").symlink_to(folder / "faq.md")
    notes = {note.file: note.reason for note in pack_of_documents(folder, tmp_path / "pack")}
    of_another_kind = "this file is not read: it is a link to a file of another kind"
    assert notes == dict.fromkeys(("faq.md", "prices.txt", "twice.html"), of_another_kind)
    pack = load_pack(tmp_path / "pack")
    assert {document.id for document in pack.documents} == {"good"}
    (tmp_path / "pack" / "documents" / "late.md").symlink_to(secret.seed_file)  # a pack that somebody brings
    assert {document.id for document in load_pack(tmp_path / "pack").documents} == {"good"}
