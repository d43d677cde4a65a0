"""Sending mail as requirement 001 describes the ports."""

from django.core.mail.backends.smtp import EmailBackend


def tls_of(port: int) -> tuple[bool, bool]:
    """Whether a port speaks TLS from the first byte, and whether STARTTLS is a must."""
    return port == 465, port == 587


class SmtpBackend(EmailBackend):
    """587 insists on STARTTLS, 465 on TLS; on other ports STARTTLS is used when it is offered."""

    def open(self) -> bool | None:
        """Connect; before signing in, move to TLS when the server can."""
        if self.connection or self.use_tls or self.use_ssl:
            return super().open()
        username, self.username = self.username, ""
        try:
            opened = super().open()
        finally:
            self.username = username
        connection = self.connection
        if not opened or connection is None:
            return opened
        try:
            connection.ehlo()
            if connection.has_extn("starttls"):
                connection.starttls(context=self.ssl_context)
                connection.ehlo()
            if username and self.password:
                connection.login(username, self.password)
        except OSError:  # those of smtplib and ssl are such; a next try begins anew
            connection.close()
            self.connection = None
            raise
        return True
