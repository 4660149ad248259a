"""What is built and shipped beside the code: the model builder and the packs."""
