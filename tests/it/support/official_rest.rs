//! Twilio's own Python client, pointed at the stub: what it reads there is what the stub means.

use std::process::Command;

use serde_json::Value;

use super::Account;
use super::twilio_api::TwilioApi;

const SCRIPT: &str = "
import json, sys
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

base, sid, token = sys.argv[1:]

def client(sid, token):
    made = Client(sid, token)
    made.api.base_url = base
    return made

def code(call):
    try:
        call()
    except TwilioRestException as refused:
        return [refused.status, refused.code]
    except TwilioException as refused:
        # A page that could not be read comes with the whole answer.
        answer = refused.args[1]
        return [answer.status_code, json.loads(answer.text)['code']]

ours = client(sid, token)
subs = [ours.api.accounts.create(friendly_name='Sub %d' % n) for n in range(3)]
paged = [a.friendly_name for a in ours.api.accounts.list(page_size=2)]
named = [a.sid for a in ours.api.accounts.list(friendly_name='Sub 1')]
sub = client(subs[1].sid, subs[1].auth_token)
found = sub.available_phone_numbers('US').local.list(area_code=415, contains='0123', limit=3)
hooks = dict(voice_url='https://a.example/v', status_callback='https://a.example/s', sms_url='https://a.example/m')
bought = sub.incoming_phone_numbers.create(phone_number=found[0].phone_number, **hooks)
refusals = [
    code(lambda: sub.incoming_phone_numbers.create(phone_number=n))
    for n in (found[0].phone_number, '+15005550000', '+15005550001')
]
listed = sub.incoming_phone_numbers.list(phone_number=bought.phone_number)
changed = sub.incoming_phone_numbers(bought.sid).update(voice_url='https://b.example/v')
print(json.dumps({
    'paged': paged,
    'named': [named, subs[1].sid],
    'found': [found[0].phone_number, found[0].locality, found[0].capabilities],
    'listed': [[n.sid, n.voice_url, n.status_callback, n.sms_url] for n in listed],
    'bought': bought.sid,
    'changed': changed.voice_url,
    'refusals': refusals,
    'forged': code(lambda: client(sid, 'wrong').api.accounts.list()),
    'elsewhere': code(lambda: client(subs[2].sid, subs[2].auth_token).api.accounts(subs[1].sid).incoming_phone_numbers.list()),
    'deleted': sub.incoming_phone_numbers(bought.sid).delete(),
    'again': code(lambda: sub.incoming_phone_numbers(bought.sid).delete()),
    'left': len(sub.incoming_phone_numbers.list()),
    'closed': ours.api.accounts(subs[1].sid).update(status='closed').status,
    'after': code(lambda: sub.incoming_phone_numbers.list()),
}))
";

/// What the official client has to say of a stub.
pub(crate) fn ask(stub: &TwilioApi, account: &Account) -> Value {
    let python = std::env::var("STROWGER_TEST_PYTHON").expect("run the tests with ./test: it installs the client");
    let ran = Command::new(python).args(["-c", SCRIPT, &stub.base_url, &account.sid, &account.token]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}
