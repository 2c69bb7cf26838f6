"""Attacks, built here instruction by instruction, and never stored."""

import pickle
import struct


def text(value):
    """A string in protocol 4."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def whole(code, protocol=4):
    return bytes([0x80, protocol]) + code + b"."


def arguments(*values):
    """A tuple of plain values, as instructions."""
    return pickle.dumps(values, protocol=2)[2:-1]


def named(module, name):
    """A function on the stack, in each of the ways to name one."""
    pair = module.encode(), name.encode()
    return {
        "GLOBAL": b"c%s\n%s\n" % pair,
        "STACK_GLOBAL": text(module) + text(name) + b"\x93",
        "of the memo": text(module) + b"\x940" + text(name) + b"\x940" + b"h\x00h\x01\x93",
        "kept in the memo": b"c%s\n%s\n\x940h\x00" % pair,
        "put by number": b"c%s\n%s\np7\n0g7\n" % pair,
        "put far away": b"c%s\n%s\nr\xff\xff\x00\x000j\xff\xff\x00\x00" % pair,
    }


def called(function, module, name, *values):
    """A call of a function that is on the stack or that the call names, in each of the ways to
    do it.
    """
    pair, plain = (module.encode(), name.encode()), arguments(*values)
    each = b"".join(pickle.dumps(value, protocol=2)[2:-1] for value in values)
    return {
        "REDUCE": function + plain + b"R",
        "OBJ": b"(" + function + each + b"o",
        "INST": b"(" + each + b"i%s\n%s\n" % pair,
        "NEWOBJ": function + plain + b"\x81",
        "NEWOBJ_EX": function + plain + b"}\x92",
        "BUILD": function + b"}" + text("x") + plain + b"sb",
        "BUILD of slots": function + b"N}" + text("x") + plain + b"s\x86b",
        "REDUCE in a call of what is allowed": b"cnumpy\nndarray\n" + function + plain + b"R\x85R",
        "in place of an array's bytes": b"cnumpy\nndarray\n(K\x01\x85"
        + text("<f4")
        + function
        + plain
        + b"RtR",
        "as the state of an array": RECONSTRUCT + function + plain + b"Rb",
        "as the type of an array": RECONSTRUCT
        + b"(K\x01K\x01\x85"
        + function
        + plain
        + b"R\x89C\x04\0\0\0\0tb",
        "as a key": b"}" + function + plain + b"RNs",
        "in a set": b"\x8f(" + function + plain + b"R\x90",
        "of a name of what is allowed": b"cnumpy\nndarray\n" + function + b"\x85R",
    }


RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"


def other_ways():
    """Ways to reach a callable without its name: extension codes, persistent ids, external
    buffers.
    """
    return {
        "EXT1": b"\x82\x01",
        "EXT2": b"\x83\x01\x00",
        "EXT4": b"\x84\x01\x00\x00\x00",
        "EXT1 of 0": b"\x82\x00",
        "PERSID": b"Pos.system\n",
        "BINPERSID": text("os.system") + b"Q",
        "NEXT_BUFFER": b"\x97",
        "READONLY_BUFFER": b"\x97\x98",
    }


def in_containers(code):
    """The same alone, in a list, in a tuple, and as two values of a dict in a list of a model."""
    from ann.files.model_schema import FORMAT

    layer = b"}(" + text("activation") + code + text("weight") + code + b"u"
    return {
        "alone": code,
        "in a list": b"](" + code + b"e",
        "in a tuple": b"(" + code + b"t",
        "layer": b"}("
        + text("format")
        + text(FORMAT)
        + text("version")
        + b"K\x03"
        + text("layers")
        + b"]("
        + layer
        + b"eu",
    }


def in_a_model(code):
    """The same as each value of a dict that looks like a model file, and in containers."""
    from ann.files.model_schema import FORMAT

    places = in_containers(code)
    for key in (
        "version",
        "layers",
        "loss",
        "recipe",
        "seed",
        "preprocessing",
        "examples",
        "sha256",
    ):
        pairs = {"format": text(FORMAT), "version": b"K\x03", key: code}
        places[key] = b"}(" + b"".join(text(name) + value for name, value in pairs.items()) + b"u"
    return places
