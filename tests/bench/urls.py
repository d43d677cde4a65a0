"""All addresses of the product, and the least that a durable post can be: one INSERT, one commit."""

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def bare(request: HttpRequest) -> HttpResponse:
    """Store the body as one row."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_bare (body) VALUES (%s)", [request.body.decode()])
    return HttpResponse(b'{"ok":true}', content_type="application/json", status=201)


urlpatterns = [path("bench/bare", bare), path("", include("config.urls"))]
handler403 = "tenants.errors.forbidden"
handler404 = "tenants.errors.not_found"
handler500 = "tenants.errors.broken"
