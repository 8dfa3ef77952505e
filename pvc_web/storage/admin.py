from django.contrib import admin

from pvc_web.storage.models import BenchmarkRun


@admin.register(BenchmarkRun)
class BenchmarkRunAdmin(admin.ModelAdmin):
    """Results may be looked at and removed; nobody writes one by hand."""

    list_display = ("job", "pool", "created_at")
    list_filter = ("pool",)
    search_fields = ("job",)

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False
