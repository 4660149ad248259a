"""What we decide: one package per stage; stages are strangers to each other."""
