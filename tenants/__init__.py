"""Who: tenants, their members and tokens, what each may do, and the record of what they did."""
