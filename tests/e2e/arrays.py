"""Numpy's files, for tests that have no numpy."""
import array


def write_npy(path, kind, shape, values):
    """kind: "<f4" or "<i4"; values in row-major order."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
        array.array("f" if kind == "<f4" else "i", values).tofile(f)


def write_rows(path, rows):
    """Integers: a list, or a list of lists of one length."""
    two = isinstance(rows[0], list)
    write_npy(path, "<i4", [len(rows), len(rows[0])] if two else [len(rows)], sum(rows, []) if two else rows)
