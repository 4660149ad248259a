"""What lies beside the code: the model builder and the packs, which are shipped, and the generator of docs/."""
