"""What is beside the registries: sample data."""

from inhaul import datasets as datasets
