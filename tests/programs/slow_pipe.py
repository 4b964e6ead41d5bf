#!/usr/bin/python3
"""Copies its standard input to its output at so many KiB a second, and writes how many bytes it has passed into a file.
Usage: slow_pipe.py KIB-PER-SECOND PASSED"""
import os
import sys
import time

rate, passed = int(sys.argv[1]) * 1024, sys.argv[2]
step = max(rate // 50, 1)
total = 0
while data := os.read(0, step):
    total += len(data)
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]
    with open(passed + ".new", "w") as file:
        file.write(f"{total}\n")
    os.replace(passed + ".new", passed)
    time.sleep(len(data) / rate)
