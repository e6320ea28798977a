"""An instance: one registry database, one default storage, and the current user."""

from inhaul.instance.connecting import connect as connect
from inhaul.instance.connecting import current as current
from inhaul.instance.handle import Instance as Instance
from inhaul.instance.storages import StorageRow as StorageRow
