"""Writes three handwritten digits of the test set as a sensor would give them: a pixel a line, an empty line after each image."""

from qdeploy import datasets

images = datasets.load("sequential-digits").x[:3]  # [3, 64, 1], brightness from 0 to 1
for image in images:
    for pixel in image.reshape(-1):
        print(pixel)
    print()
