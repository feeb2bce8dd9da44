"""What users tells others: the whole published state of a user at each version, and its end."""

from freehold import Event


class UserState(Event, entity="user"):
    """A user as others may keep it."""

    id: str
    name: str
    email: str


class UserCreated(UserState):
    """A user is there."""


class UserUpdated(UserState):
    """A user's name or email address has changed."""


class UserDeleted(Event, entity="user", erases=True):
    """A user is gone, and with it what others keep of the person."""

    id: str
