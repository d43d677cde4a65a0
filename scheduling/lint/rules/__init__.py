"""The rules, a module for each family; the engine imports every module here."""
