"""What the other contenders answer: the list and the context by the ORM, the search by the same SQL."""

import json

from django.db import connection
from django.http import JsonResponse
from django.urls import path

from receptionist.models import CallerProfile, CallSummary, Configuration, Memory, PersonalityAverage

SHOWN = ("id", "user_id", "type", "key", "content", "created_at")


def memories(request):
    limit = int(request.GET.get("limit", 50))
    found = Memory.objects.filter(user_id=request.GET["user_id"]).order_by("-created_at", "-id")
    return JsonResponse({"memories": list(found.values(*SHOWN)[: limit + 1])})


def context(request):
    user_id = json.loads(request.body)["user_id"]
    profile = CallerProfile.objects.filter(user_id=user_id).first()
    summaries = CallSummary.objects.filter(user_id=user_id).order_by("-created_at", "-id")
    remembered = Memory.objects.filter(user_id=user_id).order_by("-created_at", "-id")
    averages = PersonalityAverage.objects.filter(user_id=user_id).first()
    return JsonResponse(
        {
            "user_id": user_id,
            "known": profile is not None,
            "quick_bio": profile.quick_bio if profile else "",
            "profile": {**profile.fields, "name": profile.name} if profile else {},
            "summaries": list(summaries.values("id", "summary", "key_topics", "created_at")[:5]),
            "memories": list(remembered.values("id", "type", "key", "content", "created_at")[:20]),
            "personality": averages.averages if averages else {},
            "agent": Configuration.objects.order_by("-version").first().content,
        }
    )


def search(request):
    asked = json.loads(request.body)
    ranking = """
        with q as (select replace(plainto_tsquery('simple', %s)::text, ' & ', ' | ')::tsquery as words)
        select id from memories m, q where m.words @@ q.words
        order by ts_rank_cd(m.words, q.words, 32) desc, created_at desc, id desc limit 1000"""
    with connection.cursor() as cursor:
        cursor.execute(ranking, [asked["query"]])
        ids = [row[0] for row in cursor.fetchall()][: asked.get("limit", 50)]
    found = {memory["id"]: memory for memory in Memory.objects.filter(id__in=ids).values(*SHOWN)}
    return JsonResponse({"memories": [found[i] for i in ids]})


urlpatterns = [
    path("v1/memories", memories),
    path("v1/memories/search", search),
    path("v2/context/enriched", context),
]
