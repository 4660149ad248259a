"""Checks a file of `tidegate audit export` or `tidegate audit prove`, on its own: it needs Python 3.9, `cryptography`,
and nothing of Tidegate.

    python verify_export.py FILE --trust KEY [--trust KEY]

KEY is the hexadecimal public key, or its id, of the site and of the hub, as its owner has told it: a key that only the
file vouches for proves nothing. Exit code 0: all entries shown are in the log whose head these keys signed, unchanged
and in this order, and the policies are those that the receipts name; or the one answer is in it. 1: not, with the
reason."""

import argparse
import base64
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Fault(Exception):
    """Why the file is not believed."""


def sha256(data):
    return hashlib.sha256(data).digest()


class Tree:
    """The tree of RFC 9162, made of full subtrees from left to right."""

    def __init__(self):
        self.size, self.parts = 0, []

    def add(self, width, value):
        if width < 1 or width & (width - 1) or self.size % width:
            raise Fault(f"{width} entries from {self.size} on are no full subtree")
        self.size += width
        while self.parts and self.parts[-1][0] == width:
            value, width = sha256(b"\x01" + self.parts.pop()[1] + value), 2 * width
        self.parts.append((width, value))

    def root(self):
        value = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            value = sha256(b"\x01" + left + value)
        return value


def is_signed(public, signature, data):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_trusted(public, trusted):
    """Whether a key was named, itself or by its id, which is computed: what the file calls it says nothing."""
    described = {"keytype": "ed25519", "keyval": {"public": public}, "scheme": "ed25519"}
    key_id = sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).hex()
    return public in trusted or key_id in trusted


def read_note(note, keys):
    """Origin, size and root of a signed checkpoint (C2SP), and the owners whose keys signed it."""
    text, _, below = note.rpartition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    signers = set()
    for line in below.splitlines():
        name, data = line[2:].split(" ")
        raw = base64.b64decode(data)
        for owner, public in keys:
            named = "tidegate.audit/" + owner
            plain, witness = (sha256(f"{name}\n".encode() + kind + public)[:4] for kind in (b"\1", b"\4"))
            time = f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n"
            if name.split("@")[0] == named and raw[:4] == plain and is_signed(public, raw[4:], text.encode()):
                signers.add(owner)
            if name == named and raw[:4] == witness and is_signed(public, raw[12:], (time + text).encode()):
                signers.add(owner)
    return origin, int(size), base64.b64decode(root), signers


class Export:
    """A file, line by line: `heads` are (size, signers) that hold, `entries` what is shown."""

    def __init__(self, trusted):
        self.header, self.entries, self.heads, self.policies = None, [], [], {}
        self._trusted, self._keys, self._notes, self._roots, self._tree = trusted, [], [], {}, Tree()

    def read(self, lines):
        for line in lines:
            getattr(self, "read_" + line["line"])(line)
            if self._tree.size in self._roots:
                self._roots[self._tree.size] = self._tree.root()
        for origin, size, root, signers in self._notes:
            if origin.split("@")[0] != "tidegate.audit/" + self.header["domain"] or self._roots[size] != root:
                raise Fault(f"the entries are not those of the head of {size} entries")
            if self.header["domain"] not in signers:
                raise Fault(f"no key that you trust signed the head of {size} entries")
            self.heads.append((size, signers))
        if not self.heads or self.heads[0][0] != self._tree.size or self._tree.size != self.header["size"]:
            raise Fault("the file was cut: no signed head covers all of its entries")

    def read_header(self, line):
        self.header = line

    def read_key(self, line):
        if is_trusted(line["public"], self._trusted):
            self._keys.append((line["owner"], bytes.fromhex(line["public"])))

    def read_head(self, line):
        self._notes.append(read_note(line["note"], self._keys))
        self._roots[self._notes[-1][1]] = b""

    def read_policy(self, line):
        if sha256(line["canonical"].encode()).hex()[:12] != line["version"]:
            raise Fault(f"policy {line['version']} was changed")
        self.policies[line["version"]] = line["canonical"]

    def read_hidden(self, line):
        self._tree.add(line["end"] - line["begin"], bytes.fromhex(line["hash"]))

    def read_entry(self, line):
        counter, entry = self._tree.size, json.loads(line["leaf"])
        if line["counter"] != counter or entry["counter"] != counter or entry["domain"] != self.header["domain"]:
            raise Fault(f"entry {counter} is not where it was written")
        if entry.get("tenant", "") not in (self.header["tenant"], ""):
            raise Fault(f"entry {counter} is of another tenant")
        self.entries.append(entry)
        self._tree.add(1, sha256(b"\x00" + line["leaf"].encode()))


def root_of(value, index, size, path):
    """The root of a tree of `size` with this leaf, by the hashes beside the way there, the lowest first (RFC 9162)."""
    if size == 1 and not path:
        return value
    if size == 1 or not path:
        raise Fault("the path from the entry to the head is not as long as it must be")
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return sha256(b"\x01" + root_of(value, index, split, path[:-1]) + path[-1])
    return sha256(b"\x01" + path[-1] + root_of(value, index - split, size - split, path[:-1]))


def check_proof(proof, trusted):
    """The entry of a file of `tidegate audit prove`, the size of the head, and who signed that."""
    if (proof["format"], proof["version"]) != ("tidegate-audit-proof", 1):
        raise Fault("this is no proof of an answer that this script knows")
    keys = [(key["owner"], bytes.fromhex(key["public"])) for key in proof["keys"] if is_trusted(key["public"], trusted)]
    entry = json.loads(proof["entry"])
    origin, size, root, signers = read_note(proof["head"], keys)
    if origin.split("@")[0] != "tidegate.audit/" + entry["domain"] or entry["domain"] not in signers:
        raise Fault("no key that you trust signed this head of the log")
    leaf = sha256(b"\x00" + proof["entry"].encode())
    path = [bytes.fromhex(each) for each in proof["path"]]
    if not 0 <= entry["counter"] < size or root_of(leaf, entry["counter"], size, path) != root:
        raise Fault("the entry is not in the log with this head")
    if entry["body"]["type"] != "answer":
        raise Fault("the entry is of no answer")
    return entry, size, signers


def print_proof(entry, size, signers):
    answer = entry["body"]
    print(plain("good: the answer to {} is entry {counter} of {domain}".format(answer["rid"], **entry)))
    print(plain(f"  {answer['outcome']}, sha256 of its text {answer['text_digest']}"))
    print(plain(f"  head of {size} entries, signed by {', '.join(sorted(signers))}"))


def print_export(export):
    print(plain("good: {} of {size} entries of {domain} for {tenant}".format(len(export.entries), **export.header)))
    for size, signers in export.heads:
        print(plain(f"  head of {size} entries, signed by {', '.join(sorted(signers))}"))
    print(f"  {len(export.policies)} policies have the digests by which receipts name them")


def check(file, trusted):
    """Print what the file proves. Raises `Fault`, and whatever reading a damaged file raises."""
    first = file.readline()
    if '"line"' not in first:
        print_proof(*check_proof(json.loads(first + file.read()), trusted))
        return
    export = Export(trusted)
    export.read(json.loads(line) for lines in ([first], file) for line in lines)
    print_export(export)


def main():
    parser = argparse.ArgumentParser(description="Check a file of `tidegate audit export` or `audit prove`.")
    parser.add_argument("file")
    parser.add_argument("--trust", action="append", required=True, help="A public key (hexadecimal), or its id.")
    given = parser.parse_args()
    try:
        with open(given.file, encoding="utf-8") as file:
            check(file, set(given.trust))
    except (Fault, ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
        sys.exit(plain(f"NOT GOOD: {fault if isinstance(fault, Fault) else 'the file is damaged: ' + repr(fault)}"))


def plain(text):
    """One line of printable ASCII: what the file quotes clears no screen, and is no second line that says `good`."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)


if __name__ == "__main__":
    main()
