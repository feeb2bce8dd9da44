"""One line read at a time: the strict forms by one pattern each, the rest piece by piece with a reason for each deviation."""
