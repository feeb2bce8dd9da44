"""The one database that orders owns."""

from pymongo import IndexModel

from freehold import Collection, Mongo

store = Mongo(
    {
        # Newest first within a customer: the list that clients ask for, and its cursor.
        "orders": Collection(indexes=[IndexModel([("user_id", 1), ("placed_at", -1), ("_id", -1)], name="by_user")]),
        # MongoDB itself forgets a record when its time has come.
        "placings": Collection(indexes=[IndexModel("expires_at", name="expiry", expireAfterSeconds=0)]),
    }
)
