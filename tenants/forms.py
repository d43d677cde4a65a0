"""The forms of this app's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth import password_validation
from django.utils import timezone

from tenants.models import Role, Scope, Tenant, User
from tenants.zones import zones_by_spelling

if TYPE_CHECKING:
    UserModelForm = forms.ModelForm[User]
    TenantModelForm = forms.ModelForm[Tenant]
else:
    UserModelForm = TenantModelForm = forms.ModelForm

PASSWORD_LENGTH = 1_024
"""Longest password; without a limit, hashing megabytes would be a way to keep the server busy."""


def save_changed(form: forms.ModelForm[Any]) -> None:
    """Store what the person changed and no other column.

    The form's row was read when the page was asked for: saved whole, it would undo what others did
    meanwhile (a suspension, a new password).
    """
    row = form.instance
    columns = {field.name for field in row._meta.concrete_fields}
    changed = {name: getattr(row, name) for name in form.changed_data if name in columns}
    if changed:
        type(row)._default_manager.filter(pk=row.pk).update(**changed)


def _password(autocomplete: str) -> forms.PasswordInput:
    return forms.PasswordInput(attrs={"autocomplete": autocomplete})


class SignInForm(forms.Form):
    """Mail address and password."""

    email = forms.CharField(
        label="Mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        max_length=PASSWORD_LENGTH, strip=False, widget=_password("current-password")
    )


class ResetForm(forms.Form):
    """The address to which a link shall go."""

    email = forms.EmailField(
        label="Mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )


class NewPasswordForm(forms.Form):
    """A new password for `user`, checked by the installation's rules."""

    new_password = forms.CharField(
        max_length=PASSWORD_LENGTH,
        strip=False,
        widget=_password("new-password"),
        help_text="At least 10 characters; a sentence is easy to remember and hard to guess.",
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_new_password(self) -> str:
        """Apply AUTH_PASSWORD_VALIDATORS."""
        password: str = self.cleaned_data["new_password"]
        password_validation.validate_password(password, self.user)
        return password


class ChangePasswordForm(NewPasswordForm):
    """The present password and a new one."""

    password = forms.CharField(
        label="Present password",
        max_length=PASSWORD_LENGTH,
        strip=False,
        widget=_password("current-password"),
    )
    field_order = ("password", "new_password")


class TimeZoneField(forms.CharField):
    """A time zone, found as people write it: "europe/berlin", "New York"; "" is refused.

    Browsers offer the options of the page's `<datalist id="time-zones">` while one types.
    """

    default_error_messages: ClassVar = {
        "unknown": "No such time zone. Write a city such as Berlin, or choose from the list."
    }

    def clean(self, value: Any) -> str:
        text = super().clean(value).replace(" ", "_").casefold()
        found = zones_by_spelling().get(text)
        if found is None:
            raise forms.ValidationError(self.error_messages["unknown"], "unknown")
        return found


class AccountForm(UserModelForm):
    """How a person wants to see Flowwatch."""

    time_zone = TimeZoneField(
        max_length=64,
        widget=forms.TextInput(
            attrs={"list": "time-zones", "autocomplete": "off", "spellcheck": "false"}
        ),
    )

    class Meta:
        model = User
        fields = ("name", "time_zone", "theme", "density")
        labels = {"density": "Table rows"}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "name"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        there = timezone.localtime(timezone=self.instance.zone)
        self.fields["time_zone"].help_text = (
            f"Times on all pages are shown in this zone. It is {there:%H:%M} there now."
            " Empty the field to see all zones."
        )


class TokenForm(forms.Form):
    """What a new token is for."""

    name = forms.CharField(
        max_length=255,
        help_text="Where it will be used, so that you know what stops when you revoke it.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, f"{scope.value}: {scope.explanation}") for scope in Scope],
        widget=forms.CheckboxSelectMultiple,
        initial=[Scope.INGEST.value],
    )
    expires_in_days = forms.TypedChoiceField(
        label="Expires",
        coerce=int,
        empty_value=None,
        required=False,
        initial="365",
        choices=[
            ("", "Never"),
            ("7", "After 7 days"),
            ("30", "After 30 days"),
            ("90", "After 90 days"),
            ("365", "After a year"),
        ],
    )
    environment_id = forms.TypedChoiceField(
        label="Environment",
        coerce=int,
        empty_value=None,
        required=False,
        help_text="Everything sent with this token then belongs to that environment.",
    )

    def __init__(self, *args: Any, environments: list[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = self.fields["environment_id"]
        assert isinstance(choice, forms.TypedChoiceField)
        choice.choices = [("", "As the sender says"), *environments]
        if not environments:
            del self.fields["environment_id"]


class InviteForm(forms.Form):
    """Whom to add, and what they may do."""

    email = forms.EmailField(
        label="Mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(
        choices=[(role.value, f"{role.label}: {role.explanation}") for role in Role],
        widget=forms.RadioSelect,
        initial=Role.VIEWER.value,
    )


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(choices=Role.choices)


class TenantForm(TenantModelForm):
    """What an owner may change about the tenant."""

    class Meta:
        model = Tenant
        fields = ("name", "location_id")
        labels = {"location_id": "GoHighLevel location"}


class ConfirmForm(forms.Form):
    """The tenant's slug, typed by somebody who means to delete it."""

    confirm = forms.CharField(label="Type the tenant's name in addresses to confirm")

    def __init__(self, *args: Any, word: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.word = word
        self.fields["confirm"].help_text = f"It is “{word}”."

    def clean_confirm(self) -> str:
        """Demand the word."""
        typed: str = self.cleaned_data["confirm"]
        if typed != self.word:
            raise forms.ValidationError("That is another word; nothing was deleted.")
        return typed
