"""Who gets in where, and what never gets out: tests that cross all apps."""
