"""The tables that the views read. The migrations are the project's own SQL."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Memory(models.Model):
    id = models.UUIDField(primary_key=True)
    user_id = models.TextField()
    type = models.TextField()
    key = models.TextField(null=True)
    content = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "memories"


class CallerProfile(models.Model):
    user_id = models.TextField(primary_key=True)
    name = models.TextField(null=True)
    quick_bio = models.TextField()
    fields = models.JSONField()

    class Meta:
        managed = False
        db_table = "caller_profiles"


class CallSummary(models.Model):
    id = models.UUIDField(primary_key=True)
    user_id = models.TextField()
    summary = models.TextField()
    key_topics = ArrayField(models.TextField())
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "call_summaries"


class PersonalityAverage(models.Model):
    user_id = models.TextField(primary_key=True)
    averages = models.JSONField()

    class Meta:
        managed = False
        db_table = "personality_averages"


class Configuration(models.Model):
    version = models.IntegerField(primary_key=True)
    content = models.JSONField()

    class Meta:
        managed = False
        db_table = "configurations"
