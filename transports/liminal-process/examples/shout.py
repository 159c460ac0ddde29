#!/usr/bin/env python3
"""Answers in capitals, a word at a time: --participant 'shout=exec-frames:python3 shout.py'"""
import struct
import sys

HEADER = struct.Struct(">cQI")  # type, number of the message, length of the payload


def frames(stream):
    while header := stream.read(HEADER.size):
        kind, number, length = HEADER.unpack(header)
        yield kind, number, stream.read(length)


def write(kind, number, payload):
    sys.stdout.buffer.write(HEADER.pack(kind, number, len(payload)) + payload)
    sys.stdout.buffer.flush()


for kind, number, payload in frames(sys.stdin.buffer):
    if kind == b"r":  # the others want no answer
        *words, last = payload.upper().split(b" ")
        for word in words:
            write(b"p", number, word + b" ")
        write(b"a", number, last)
