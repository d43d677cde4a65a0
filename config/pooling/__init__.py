"""Django's PostgreSQL backend with connections kept between requests (``config.database``)."""
