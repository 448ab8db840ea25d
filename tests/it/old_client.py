"""A client as the platforms that were replaced have it: requests, a bearer token, their paths and bodies. It knows nothing of ours."""

import base64
import hashlib
import hmac
import json
import sys
import time

import requests

base, customer, token, stranger_token, secret = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
session = requests.Session()
session.headers["Authorization"] = f"Bearer {token}"
PHONE, KEY = "(555) 123-4567", "+15551234567"


def call(method, path, status=200, **kwargs):
    answer = session.request(method, base + path, timeout=30, **kwargs)
    assert answer.status_code == status, (method, path, answer.status_code, answer.text)
    return answer.json() if answer.content else None


def own_token(of, scope, **claims):
    """As the services sign them themselves: HS256 with a secret that all of them know, no key id, no issuer, no audience."""
    now = int(time.time())
    parts = [{"alg": "HS256", "typ": "JWT"}, {"customer_id": of, "scope": scope, "iat": now, "exp": now + 600, **claims}]
    encode = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")
    signed = b".".join(encode(json.dumps(part).encode()) for part in parts)
    return (signed + b"." + encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest())).decode()


def store(content, **more):
    body = {"customer_id": customer, "user_id": PHONE, "content": content, **more}
    answer = call("POST", "/memory/store", json=body)
    assert answer["success"] is True and answer["error"] is None and len(answer["id"]) == 36, answer
    return answer["id"]


# Memories.
store("Prefers to be called in the morning.")
kept = store("Has two cars.", type="fact", key="cars")
assert store("Has three cars.", type="fact", key="cars") == kept, "a key replaces"
found = call("POST", "/memory/retrieve", json={"customer_id": customer, "user_id": KEY, "query": "cars", "limit": 1})
assert [m["content"] for m in found["memories"]] == ["Has three cars."], found
missing = call("POST", "/memory/store", 400, json={"user_id": PHONE, "content": "x"})
assert missing == {"success": False, "error": "customer_id is required for multi-tenant security"}, missing
page = call("GET", "/v1/memories", params={"user_id": PHONE, "customer_id": customer, "limit": 1})
assert page["customer_id"] == customer and page["next_cursor"] and len(page["memories"]) == 1, page
memory = page["memories"][0]
assert set(memory) >= {"id", "customer_id", "user_id", "type", "key", "content", "created_at"}, memory
rest = call("GET", f"/v1/memories/user/{KEY}", params={"cursor": page["next_cursor"]})
assert len(rest["memories"]) == 1 and rest["next_cursor"] is None, rest
made = call("POST", "/v1/memories", 201, json={"user_id": KEY, "value": "Speaks Spanish."})
assert call("GET", f"/v1/memories/{made['id']}")["content"] == "Speaks Spanish."
ranked = call("POST", "/v1/memories/search", json={"user_id": KEY, "query": "spanish"})["memories"]
assert ranked[0]["id"] == made["id"] and ranked[0]["score"] > 0, ranked
call("DELETE", f"/v1/memories/{made['id']}", 204)
call("GET", f"/v1/memories/{made['id']}", 404)

# A caller, and a call.
call("PUT", f"/v2/profile/{KEY}", json={"name": "John Smith"})
assert call("GET", "/caller/profile/15551234567")["name"] == "John Smith"
history = [
    {"role": "assistant", "content": "How can I help you?"},
    {"role": "user", "content": "My third car was hit in the parking lot yesterday. Please send me the claim form."},
]
thread = f"customer_{customer}_user_15551234567"
body = {"customer_id": customer, "user_id": KEY, "thread_id": thread, "conversation_history": history, "call_sid": "CA1"}
first = call("POST", "/v2/process-call", json=body)
assert first["summary"] and first["key_topics"], first
assert call("POST", "/v2/process-call", json=body) == first, "sent again it is the same"
other = {**body, "call_sid": "CA2", "thread_id": f"customer_{customer + 1}_user_15551234567"}
call("POST", "/v2/process-call", 403, json=other)
assert len(call("GET", f"/v2/summaries/{KEY}")["summaries"]) == 1
assert call("GET", f"/v2/personality/{KEY}")
context = call("POST", "/v2/context/enriched", json={"customer_id": customer, "user_id": KEY})
assert context["known"] and context["summaries"] and context["memories"] and context["agent"]["agent_name"], context
assert call("GET", "/v2/context/enriched", params={"user_id": KEY}) == context

# A company and what its receptionist knows, with a token of the service's own making.
rights = "read:config write:config read:knowledge write:knowledge read:memories"
session.headers["Authorization"] = f"Bearer {own_token(customer, rights)}"
company = f"/api/company/{customer}"
assert call("GET", "/v1/memories", params={"user_id": KEY})["memories"], "the same data, whoever has signed"
call("POST", "/v1/memories", 403, json={"user_id": KEY, "value": "x"})
cloned = call("POST", f"{company}/configuration/sync", json={"templateId": "universal"})
assert cloned["companyId"] == customer and cloned["to"]["templateId"] == "universal", cloned
assert call("GET", f"{company}/configuration/sync/preview")["changes"] == []
values = {"servicecallprice": "150", "companyName": "Acme"}
assert call("PATCH", f"{company}/configuration/variables", json=values)["variables"]["servicecallprice"] == "150"
configuration = call("GET", f"{company}/configuration")
assert configuration["clonedFrom"] == "universal" and configuration["clonedVersion"] >= 1, configuration
assert configuration["clonedAt"] and configuration["companyName"] == "Acme", configuration
assert set(configuration["fillerWords"]) == set(configuration["urgencyKeywords"]) == {"inherited", "custom"}, configuration
question = {"question": "What does a service call cost?", "answer": "A service call at {companyName} is ${servicecallprice}."}
made = call("POST", f"{company}/knowledge-management", 201, json=question)
one = f"{company}/knowledge-management/{made['id']}"
assert [q["id"] for q in call("GET", f"{company}/knowledge-management")["knowledge"]] == [made["id"]]
assert call("GET", one)["answer"] == question["answer"]
heard = call("POST", f"{company}/match", json={"text": "What does a service call cost?"})
assert (heard["tier"], heard["id"], heard["text"]) == ("knowledge", made["id"], "A service call at Acme is $150."), heard
assert heard["score"] >= 0.8 and heard["why"], heard
assert call("PUT", one, json={**question, "answer": "Nothing."})["answer"] == "Nothing."
call("DELETE", one, 204)
call("GET", one, 404)
scenarios = call("GET", f"{company}/scenarios")["scenarios"]
book = next(s for s in scenarios if s["key"] == "book_appointment")
changed = {**book, "replies": ["Gladly. Which day suits you?"]}
assert call("PUT", f"{company}/scenarios/{book['id']}", json=changed)["replies"] == changed["replies"]
assert call("GET", f"{company}/scenarios/{book['id']}")["replies"] == changed["replies"]
heard = call("POST", f"{company}/match", json={"text": "I need to schedule an appointment"})
assert (heard["tier"], heard["id"]) == ("scenario", book["id"]), heard
ready = call("GET", f"{company}/readiness")
assert 0 <= ready["score"] < 100 and "number" in ready["missing"], ready
unauthorized = {"error": "Unauthorized", "message": "You do not have access to this company"}
for path in ["configuration", "scenarios", "knowledge-management", "readiness", "configuration/sync/preview"]:
    assert call("GET", f"/api/company/{customer + 1}/{path}", 403) == unauthorized, path
assert call("POST", f"/api/company/{customer + 1}/match", 403, json={"text": "x"}) == unauthorized
for wrong in [own_token(customer + 1, rights), own_token(customer, rights, exp=1), own_token(customer, rights)[:-4] + "AAAA"]:
    session.headers["Authorization"] = f"Bearer {wrong}"
    call("GET", f"{company}/configuration", 401)

# Another customer's token, or none.
session.headers["Authorization"] = f"Bearer {token}"
call("GET", "/v1/memories", 403, params={"customer_id": customer + 1})
session.headers["Authorization"] = f"Bearer {stranger_token}"
call("POST", "/memory/retrieve", 403, json={"customer_id": customer, "user_id": KEY})
assert call("GET", "/v1/memories", params={"user_id": KEY})["memories"] == []
del session.headers["Authorization"]
call("GET", "/v1/memories", 401)
print(json.dumps("unchanged"))
