"""How numbers, times and states are said and drawn, the same on every page (docs/ui.md).

Words are plain text, for pages and for exports and mails; what says "mark up" or "draw" is HTML.
Templates get them by `{% load ui %}`.
"""
