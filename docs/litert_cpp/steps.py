"""Prints three images, pixel by pixel, an empty line after each: what classify reads."""

from qdeploy import datasets

for image in datasets.load("sequential-digits").x[:3]:
    print(*image[:, 0], sep="\n", end="\n\n")
