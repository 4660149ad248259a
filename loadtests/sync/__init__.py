"""What sync costs by the number of documents held: `python -m loadtests.sync.costs`."""
