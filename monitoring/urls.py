"""All addresses of monitoring: its pages."""

from monitoring.pages.urls import urlpatterns as page_urls

app_name = "monitoring"
urlpatterns = [*page_urls]
