"""The forms of alert settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.conf import settings as django_settings
from django.http import QueryDict

from alerts.models import AlertSettings, WorkflowPreference
from alerts.models.settings import (
    HIGHEST_THRESHOLD,
    LONGEST_WINDOW_HOURS,
    severities,
)
from alerts.preferences import mail_addresses, webhook_address
from monitoring.words import ErrorClass, Severity, severity_of

ADDRESSES_LENGTH: Final = 6_000
_ADDRESSES_HELP: Final = "Several with commas or lines between them."


class SliderField(forms.IntegerField):
    """A whole number; the template puts a slider up to `slider_to` beside its field."""

    def __init__(self, *, slider_to: int, **kwargs: Any) -> None:
        self.slider_to = slider_to
        widget = forms.NumberInput(attrs={"inputmode": "numeric"})
        super().__init__(widget=widget, **kwargs)


class AddressesField(forms.CharField):
    """Mail addresses with commas or lines between them, as a list."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 2, "autocomplete": "off", "spellcheck": "false"})
        super().__init__(max_length=ADDRESSES_LENGTH, required=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> list[str]:
        """The addresses; raises ValidationError."""
        try:
            return mail_addresses(super().clean(value))
        except ValueError as error:
            raise forms.ValidationError(f"{error}.") from error

    def prepare_value(self, value: Any) -> Any:
        """Addresses that are stored, one in a line."""
        return "\n".join(value) if isinstance(value, list) else value


class ShownForm(forms.Form):
    """Knows what its reader changed: the page brings along what it had shown.

    So two who save at once change what each has typed, not what the other one has.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = True

    @property
    def changed(self) -> dict[str, Any]:
        """Name → value of what differs from what was shown; all of it when nothing says that."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if self.add_initial_prefix(name) not in self.data or name in self.changed_data
        }


class SettingsForm(ShownForm):
    """What the tenant wants to be told, and where."""

    enabled = forms.BooleanField(
        label="Alerts are on",
        required=False,
        help_text="While they are off, incidents are still listed; nobody is told.",
    )
    failure_threshold = SliderField(
        label="Failures",
        min_value=1,
        max_value=HIGHEST_THRESHOLD,
        slider_to=50,
        help_text="So many failures of one workflow open an incident, and as many successes in a "
        "row end it.",
    )
    time_window_hours = SliderField(
        label="Within hours",
        min_value=1,
        max_value=LONGEST_WINDOW_HOURS,
        slider_to=168,
    )
    repeat_minutes = SliderField(
        label="Repeat after minutes",
        min_value=5,
        max_value=24 * 60,
        slider_to=480,
        help_text="While it goes on failing and nobody has acknowledged it.",
    )
    alert_on_critical = forms.BooleanField(label="Critical", required=False)
    alert_on_warning = forms.BooleanField(label="Warning", required=False)
    alert_on_info = forms.BooleanField(label="Info", required=False)
    alert_on_scan = forms.BooleanField(
        label="A summary of each scan that ends",
        required=False,
        help_text="New critical findings and failed scans are told anyway.",
    )
    emails = AddressesField(label="Mail addresses", help_text=_ADDRESSES_HELP)
    webhook_url = forms.CharField(
        label="Webhook address",
        required=False,
        max_length=2_000,
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://"}),
        help_text="Gets a signed POST for each message (Standard Webhooks).",
    )

    def __init__(self, data: QueryDict | None = None, *, settings: AlertSettings) -> None:
        initial = {name: getattr(settings, name) for name in self.base_fields}
        super().__init__(data, initial=initial)
        if not django_settings.MAIL_CONFIGURED:
            self.fields[
                "emails"
            ].help_text = "No mail can leave this installation: its operator has not set SMTP_HOST."

    def clean_webhook_url(self) -> str:
        """An address that may be called."""
        try:
            return webhook_address(self.cleaned_data["webhook_url"])
        except ValueError as error:
            raise forms.ValidationError(f"{str(error).rstrip('.')}.") from error

    @property
    def severity_fields(self) -> list[forms.BoundField]:
        names = ("alert_on_critical", "alert_on_warning", "alert_on_info", "alert_on_scan")
        return [self[name] for name in names]

    @property
    def sliders(self) -> list[forms.BoundField]:
        return [self[n] for n in ("failure_threshold", "time_window_hours", "repeat_minutes")]


_CHOICES: Final = [(each.value, each.slug.capitalize()) for each in reversed(Severity)]


class SeveritiesForm(ShownForm):
    """How bad each class of errors is."""

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, prefix="severity")
        now = severities()
        for each in ErrorClass:
            usual = severity_of(each).slug
            self.fields[each.slug] = forms.TypedChoiceField(
                label=each.label.capitalize(),
                choices=_CHOICES,
                coerce=int,
                initial=now[each].value,
                help_text=f"Usually {usual}.",
                show_hidden_initial=True,
            )

    @staticmethod
    def chosen(said: Mapping[str, int]) -> dict[ErrorClass, Severity]:
        """Class of errors → severity, of some of the form's values."""
        return {each: Severity(said[each.slug]) for each in ErrorClass if each.slug in said}


class PreferenceForm(ShownForm):
    """What is different for one workflow."""

    _ENABLED: Final = {"": None, "on": True, "off": False}

    enabled = forms.ChoiceField(
        label="Alerts of this workflow",
        required=False,
        choices=[("", "As for all"), ("on", "On"), ("off", "Off")],
    )
    failure_threshold = forms.IntegerField(
        label="Failures",
        required=False,
        min_value=1,
        max_value=HIGHEST_THRESHOLD,
        help_text="Empty: as for all.",
    )
    emails = AddressesField(
        label="Mail addresses", help_text=f"Instead of the tenant's. {_ADDRESSES_HELP}"
    )

    def __init__(
        self, data: QueryDict | None = None, *, preference: WorkflowPreference | None = None
    ) -> None:
        initial = {}
        if preference is not None:
            words = {value: word for word, value in self._ENABLED.items()}
            initial = {
                "enabled": words[preference.enabled],
                "failure_threshold": preference.failure_threshold,
                "emails": preference.emails,
            }
        super().__init__(data, initial=initial)

    def clean_enabled(self) -> bool | None:
        """As it is stored."""
        return self._ENABLED[self.cleaned_data["enabled"]]
