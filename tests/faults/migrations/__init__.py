"""Tables of the tests of faults in the databases of their product trees."""
